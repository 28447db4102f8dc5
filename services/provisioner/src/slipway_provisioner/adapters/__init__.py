"""The only importers of the cloud's and Kubernetes' SDKs; they translate errors."""
