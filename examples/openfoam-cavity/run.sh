#!/bin/sh
# run.sh CASE: solves the case in the working folder, where the file `parameters` is.
set -e
export WM_PROJECT_DIR="${WM_PROJECT_DIR:-/usr/share/openfoam}"     # where Debian puts it
cp -r "$1"/* .
blockMesh
icoFoam
postProcess -func writeCellCentres -latestTime
