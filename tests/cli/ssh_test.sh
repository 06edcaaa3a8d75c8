#!/bin/sh
# Hosts that can't be reached, can't be trusted or lack zfs: one line that says what and where, exit status 255.
. "$(dirname "$0")/lib.sh"
sshd_start

# backup SSH_CONFIG HOST
backup() { moonpool autobackup --ssh-config "$1" --ssh-source "$2" nas back/nas; }
# The configuration of "far" with one line replaced.
config_with() { sed "s|^  $1 .*|  $1 $2|" "$ssh_config" >"$1.config"; echo "$1.config"; }

unknown_host() {
  printf 'Host nowhere\n  HostName no-such-host.invalid\n' >config
  refused 255 nowhere backup config nowhere
  has "$err" no-such-host.invalid
}
it 'a host without an address is told' unknown_host

refused_connection() { refused 255 'far: *efused' backup "$(config_with Port 1)" far; }
it 'a connection that is refused is told' refused_connection

wrong_key() { refused 255 'far: ' backup "$(config_with IdentityFile "$s/other")" far && has "$err" "$s/other"; }
it 'a key that is not accepted is told with its file' wrong_key

unknown_hostkey() {
  : >empty
  refused 255 'far: ' backup "$(config_with UserKnownHostsFile "$PWD/empty")" far
  has "$err" "$PWD/empty"
}
it 'a host key that is not known is told with the file where it is missing' unknown_hostkey

changed_hostkey() {
  echo "[127.0.0.1]:$port $(cat "$s/other.pub")" >known
  refused 255 'far: ' backup "$(config_with UserKnownHostsFile "$PWD/known")" far
  has "$err" "$PWD/known"
}
it 'a host key that has changed is told with the file and line' changed_hostkey

no_zfs() { refused 255 'far: *zfs' backup "$ssh_config" far; }
it 'a far side without zfs is told' no_zfs

zfs_complains() {
  program_dir=$scratch/far
  printf '#!/bin/sh\necho "internal error: out of memory" >&2; exit 1\n' >"$program_dir/zfs"
  chmod 755 "$program_dir/zfs"
  refused 255 'far: *internal error: out of memory' backup "$ssh_config" far
  rm "$program_dir/zfs"
}
it 'what the zfs of a far side complains of is told' zfs_complains

finish
