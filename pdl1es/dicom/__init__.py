"""Reading a study: files to headers, headers to one CT series and one tumour segment, frames to pixels."""
