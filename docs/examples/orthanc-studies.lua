-- Orthanc: when a study has rested for "StableAge" and has a contour, its CT and contours are sent to the gateway.
-- For gateways that may not fetch. A study is sent again after each later arrival; the gateway runs nothing twice.
-- What could not be sent is not tried again: docs/gateway-pacs.md, "After a stop".
-- orthanc.json: "LuaScripts": ["orthanc-studies.lua"], and "DicomModalities" as in orthanc-contours.lua

function OnStableStudy(studyId, tags, metadata, origin)
  local resources, contour = {}, false
  for _, series in ipairs(ParseJson(RestApiGet('/studies/' .. studyId .. '/series', false))) do
    local modality = series['MainDicomTags']['Modality']
    if modality == 'SEG' or modality == 'RTSTRUCT' then contour = true end
    if modality == 'CT' or modality == 'SEG' or modality == 'RTSTRUCT' then
      table.insert(resources, series['ID'])
    end
  end
  if contour then
    RestApiPost('/modalities/pdl1es/store', DumpJson({ Resources = resources, Synchronous = false }, true), true)
  end
end
