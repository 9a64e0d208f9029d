#!/bin/sh
# run.sh CASE: solves the case in the working folder, where the file `parameters` is.
set -e
cp -r "$1"/* .
blockMesh
icoFoam
postProcess -func writeCellCentres -latestTime
