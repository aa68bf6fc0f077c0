# Commands of our own that are scripts: `refuse` under the names of what can't be here, and answers that files and variables give.
version=1 licence=Apache-2.0
names() { :; }
refused="curl wget ssh scp sftp ping nc apt apt-get pip pip3 npm npx yarn docker podman sudo su"
build() {
  local name
  rm -rf named
  mkdir named
  cp "$here/own/commands/"* named
  for name in $refused; do cp named/refuse "named/$name"; done
  rm named/refuse
}
publish() { commands own-files named/*; }
