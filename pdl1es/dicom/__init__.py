"""Reading a study: files to headers, headers to one CT series and one tumour segment, frames to pixels.

``study``
    A folder as one study. It calls ``files`` (listing within ``limits``) and ``header`` (one file's header, by means of
    ``file_format``, ``header_keywords`` and ``header_elements``), and gives an ``instance`` for each object.
``series``
    CT series as stacks: ``slices`` says where each image lies and which are set aside, ``stack`` forms the stack,
    ``gaps`` tells where slices are missing, ``rescale`` in which units the values are.
``segmentation``
    Headers of SEG objects, with ``coded_concept``, ``tumour_codes`` and ``tumour_labels``; ``segment_mask`` holds one
    segment's voxels. ``structure_set`` reads RT Structure Sets, ``planar_contours`` makes voxels of their regions, and
    ``contour_origin`` tells who drew either.
``geometry``, ``functional_groups``
    Planes in the patient's coordinates, and the attributes of a frame.
``protocol``
    Reconstruction kernels by vendor, and the check of a series against the acquisition protocol.
``selection``
    Which series and which segment are scored.
``pixels``
    Frames to stored values and Hounsfield units.
"""
