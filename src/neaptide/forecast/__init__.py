"""What a workload will use: histograms, peak prediction, run times. Pure."""
