"""The connections that the gateway opens itself: associations with DICOM nodes, requests to DICOMweb servers."""
