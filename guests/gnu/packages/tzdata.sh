# The time zones, as date, Python and the C library look for them; compiled by the machine's own zic.
version=2026b licence=public-domain
tarball=tzdata_2026b.orig.tar.gz
sha256=114543d9f19a6bfeb5bca43686aea173d38755a3db1f2eec112647ae92c6f544
# The archive has no directory of its own.
strip=0
names() { :; }
build() {
  zic=$(PATH=$PATH:/usr/sbin:/sbin command -v zic)
  rm -rf zones
  "$zic" -b slim -d zones/usr/share/zoneinfo africa antarctica asia australasia etcetera europe factory northamerica southamerica backward
  cp iso3166.tab zone.tab zone1970.tab zones/usr/share/zoneinfo
}
publish() { files tzdata zones; }
