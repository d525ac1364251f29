"""From DICOM axes to the 1 mm grid: resampling, patches, contours and the tumour's size on it."""
