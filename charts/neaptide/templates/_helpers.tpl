{{- define "neaptide.name" -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "neaptide.selector" -}}
app.kubernetes.io/name: neaptide
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "neaptide.labels" -}}
{{ include "neaptide.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end -}}

{{- /* The agent's pods have a name of their own, so that no Service, budget or policy of the controller means them. */ -}}
{{- define "neaptide.agent.selector" -}}
app.kubernetes.io/name: neaptide-agent
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "neaptide.agent.labels" -}}
{{ include "neaptide.agent.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end -}}

{{- define "neaptide.virtualNode.selector" -}}
app.kubernetes.io/name: neaptide-virtual-node
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "neaptide.virtualNode.labels" -}}
{{ include "neaptide.virtualNode.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end -}}

{{- define "neaptide.account" -}}
{{- if .Values.serviceAccount.name -}}
{{- .Values.serviceAccount.name -}}
{{- else -}}
{{- ternary (include "neaptide.name" .) "default" .Values.serviceAccount.create -}}
{{- end -}}
{{- end -}}

{{- define "neaptide.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- /* Whether an object of another project is wanted: `auto` where its API is served. */ -}}
{{- define "neaptide.monitoring" -}}
{{- $wanted := toString .wanted -}}
{{- if or (eq $wanted "true") (and (eq $wanted "auto") (.root.Capabilities.APIVersions.Has "monitoring.coreos.com/v1")) -}}yes{{- end -}}
{{- end -}}

{{- /* Whether an object without a namespace is ours to make: it is not there, or this release made it. */ -}}
{{- define "neaptide.ours" -}}
{{- $there := lookup .apiVersion .kind "" .name -}}
{{- if not $there -}}yes
{{- else -}}
{{- $notes := $there.metadata.annotations | default dict -}}
{{- if and (eq (get $notes "meta.helm.sh/release-name") .root.Release.Name) (eq (get $notes "meta.helm.sh/release-namespace") .root.Release.Namespace) -}}yes{{- end -}}
{{- end -}}
{{- end -}}
