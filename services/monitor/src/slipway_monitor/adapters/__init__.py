"""The only importers of the cloud's and Kubernetes' clients; they translate errors."""
