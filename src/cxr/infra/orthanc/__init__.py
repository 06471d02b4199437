"""Orthanc and what stands around it on this machine: started, watched and stopped together."""
