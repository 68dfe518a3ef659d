"""Files from elsewhere: found, fetched, checked, unpacked."""
