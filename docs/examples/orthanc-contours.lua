-- Orthanc: sends every contour that is stored to the gateway, which fetches the CT that it was drawn on.
-- Each is a job: /jobs of Orthanc says whether it succeeded. Orthanc does not try it again: docs/gateway-pacs.md, "After a stop".
-- orthanc.json: "DicomAet": "PACS", "LuaScripts": ["orthanc-contours.lua"],
--   "DicomModalities": {"pdl1es": {"AET": "PDL1ES", "Host": "gateway.example", "Port": 11112, "AllowStorageCommitment": true}}

function OnStoredInstance(instanceId, tags, metadata, origin)
  if tags['Modality'] == 'SEG' or tags['Modality'] == 'RTSTRUCT' then
    RestApiPost('/modalities/pdl1es/store', DumpJson({ Resources = { instanceId }, Synchronous = false }, true), true)
  end
end
