package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const validity = 10 * 365 * 24 * time.Hour

// certificate is one leaf: who it names, which authority signs it, and the hosts it serves (none: a client only).
type certificate struct {
	file, authority, name, group string
	hosts                        []string
}

var loopback = []string{"localhost", "127.0.0.1"}

// certificates of a control plane. The authorities are three, as kubeadm has them: clients of etcd, clients of the API
// and the API server's own calls to aggregated API servers are kept apart.
var certificates = []certificate{
	{file: "etcd", authority: "etcd-ca", name: "etcd", hosts: loopback},
	{file: "apiserver-etcd-client", authority: "etcd-ca", name: "kube-apiserver"},
	{file: "front-proxy-client", authority: "front-proxy-ca", name: "front-proxy-client"},
	{file: "apiserver", authority: "ca", name: "kube-apiserver", hosts: append([]string{
		"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "10.96.0.1",
	}, loopback...)},
	{file: "apiserver-kubelet-client", authority: "ca", name: "kube-apiserver-kubelet-client", group: "system:masters"},
	{file: "controller-manager", authority: "ca", name: "system:kube-controller-manager", hosts: loopback},
	{file: "scheduler", authority: "ca", name: "system:kube-scheduler", hosts: loopback},
	{file: "kwok", authority: "ca", name: "kwok", group: "system:masters"},
	{file: "admin", authority: "ca", name: "admin", group: "system:masters"},
}

// runPKI makes what is missing in a folder: authorities, certificates and the key that signs service account tokens.
// NAME:HOST[,HOST...] beside the folder asks for the certificate of a kubelet, file node-NAME.
func runPKI() int {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: testbed-pki FOLDER [NODE:HOST[,HOST...]...]")
		return 2
	}
	folder := os.Args[1]
	wanted := certificates
	for _, argument := range os.Args[2:] {
		node, hosts, _ := strings.Cut(argument, ":")
		wanted = append(wanted, certificate{
			file: "node-" + node, authority: "ca", name: "system:node:" + node, group: "system:nodes",
			hosts: append([]string{node}, strings.Split(hosts, ",")...),
		})
	}
	if err := makePKI(folder, wanted); err != nil {
		fmt.Fprintln(os.Stderr, "testbed-pki:", err)
		return 1
	}
	return 0
}

func makePKI(folder string, wanted []certificate) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	authorities := map[string]*authority{}
	for _, leaf := range wanted {
		signer, known := authorities[leaf.authority]
		if !known {
			var err error
			if signer, err = loadOrMakeAuthority(folder, leaf.authority); err != nil {
				return err
			}
			authorities[leaf.authority] = signer
		}
		if err := signer.issue(folder, leaf); err != nil {
			return err
		}
	}
	return makeTokenKey(folder)
}

type authority struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

func loadOrMakeAuthority(folder, name string) (*authority, error) {
	path := filepath.Join(folder, name)
	if missing(path + ".crt") {
		template := &x509.Certificate{
			Subject: pkix.Name{CommonName: "neaptide-testbed-" + name}, IsCA: true, BasicConstraintsValid: true,
			KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		}
		if err := write(path, template, nil); err != nil {
			return nil, err
		}
	}
	certificateDER, err := readBlock(path + ".crt")
	if err != nil {
		return nil, err
	}
	parsed, err := x509.ParseCertificate(certificateDER)
	if err != nil {
		return nil, err
	}
	keyDER, err := readBlock(path + ".key")
	if err != nil {
		return nil, err
	}
	key, err := x509.ParseECPrivateKey(keyDER)
	return &authority{parsed, key}, err
}

func (a *authority) issue(folder string, leaf certificate) error {
	path := filepath.Join(folder, leaf.file)
	if !missing(path + ".crt") {
		return nil
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: leaf.name},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if leaf.group != "" {
		template.Subject.Organization = []string{leaf.group}
	}
	if len(leaf.hosts) > 0 {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	for _, host := range leaf.hosts {
		if address := net.ParseIP(host); address != nil {
			template.IPAddresses = append(template.IPAddresses, address)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	return write(path, template, a)
}

// write makes a key and its certificate, signed by itself where there is no authority. The certificate is written
// last: where it stands, the key stands.
func write(path string, template *x509.Certificate, signer *authority) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)); err != nil {
		return err
	}
	template.NotBefore = time.Now().Add(-time.Hour)
	template.NotAfter = time.Now().Add(validity)
	if signer == nil {
		signer = &authority{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, signer.certificate, key.Public(), signer.key)
	if err != nil {
		return err
	}
	if err := writeKey(path+".key", key); err != nil {
		return err
	}
	return writeBlock(path+".crt", "CERTIFICATE", der, 0o644)
}

func makeTokenKey(folder string) error {
	path := filepath.Join(folder, "service-account")
	if !missing(path + ".pub") {
		return nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	if err := writeKey(path+".key", key); err != nil {
		return err
	}
	return writeBlock(path+".pub", "PUBLIC KEY", der, 0o644)
}

func missing(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist)
}

func readBlock(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s holds no PEM block; remove it to have a new one", path)
	}
	return block.Bytes, nil
}

func writeKey(path string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return writeBlock(path, "EC PRIVATE KEY", der, 0o600)
}

// writeBlock goes through a file beside, so that an interrupted run leaves no half file.
func writeBlock(path, kind string, der []byte, mode fs.FileMode) error {
	text := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	if err := os.WriteFile(path+".new", text, mode); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
