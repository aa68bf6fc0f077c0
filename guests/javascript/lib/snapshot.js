// What node's own files ask of an image that is being made.
"use strict";
const isBuildingSnapshot = () => false;
module.exports = { isBuildingSnapshot, addAfterUserSerializeDeserializeSnapshot() {}, addSerializeCallback() {}, addDeserializeCallback() {}, namespace: { isBuildingSnapshot } };
