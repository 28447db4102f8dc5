"""The only importers of SDKs; they translate errors into RetryLater and GiveUp."""
