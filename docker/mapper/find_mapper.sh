#!/bin/sh
# find_mapper.sh SDK DEST: takes nnie_mapper and its libraries out of an SDK archive.
#
# SDK is an archive (.tgz, .tar.*, .zip) or a folder; archives inside of it are unpacked too, until
# one holds a file nnie_mapper, nnie_mapper_11 or nnie_mapper_12. Its folder becomes DEST/bin, the
# folder lib beside that one DEST/lib.
set -eu

sdk=$1
dest=$2
[ -e "$sdk" ] || { echo "SDK archive '$sdk' is missing: give it with --build-arg SDK=FILE" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

unpack() {
  mkdir -p "$2"
  case $1 in
    *.zip) unzip -q -o "$1" -d "$2" ;;
    *) tar xf "$1" -C "$2" ;;
  esac
}

program() {
  find "$1" -type f \( -name nnie_mapper -o -name nnie_mapper_11 -o -name nnie_mapper_12 \) | sort | tail -n 1
}

archives() {
  find "$1" -type f \( -name '*.tgz' -o -name '*.tar' -o -name '*.tar.*' -o -name '*.zip' \)
}

if [ -d "$sdk" ]; then
  cp -r "$sdk" "$work/0"
else
  unpack "$sdk" "$work/0"
fi
level=0
while [ -z "$(program "$work/$level")" ]; do
  next=$((level + 1))
  number=0
  archives "$work/$level" > "$work/list"
  while read -r file; do
    number=$((number + 1))
    unpack "$file" "$work/$next/$number" || echo "left out: $file cannot be unpacked" >&2
  done < "$work/list"
  if [ "$number" -eq 0 ] || [ "$next" -gt 4 ]; then
    echo "'$sdk' holds no nnie_mapper: give the SDK archive with the PC tools" >&2
    exit 2
  fi
  rm -rf "${work:?}/$level"
  level=$next
done

found=$(program "$work/$level")
folder=$(dirname "$found")
mkdir -p "$dest/bin" "$dest/lib"
cp -r "$folder/." "$dest/bin/"
for libraries in "$folder/../lib" "$folder/../lib64"; do
  [ ! -d "$libraries" ] || cp -r "$libraries/." "$dest/lib/"
done
name=$(basename "$found")
chmod 755 "$dest/bin/$name"
for other in nnie_mapper nnie_mapper_11 nnie_mapper_12; do
  [ -e "$dest/bin/$other" ] || ln -s "$name" "$dest/bin/$other"
  chmod 755 "$dest/bin/$other"
done
echo "$name: $dest/bin"
