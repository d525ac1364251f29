"""Sources: DICOM associations, an Orthanc and a folder, from which objects come into the object store."""
