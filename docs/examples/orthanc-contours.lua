-- Orthanc: sends every contour that is stored to the gateway, which fetches the CT that it was drawn on.
-- orthanc.json: "LuaScripts": ["orthanc-contours.lua"],
--   "DicomModalities": {"pdl1es": {"AET": "PDL1ES", "Host": "gateway.example", "Port": 11112, "AllowStorageCommitment": true}}

function OnStoredInstance(instanceId, tags, metadata, origin)
  if tags['Modality'] == 'SEG' or tags['Modality'] == 'RTSTRUCT' then
    SendToModality(instanceId, 'pdl1es')
  end
end
