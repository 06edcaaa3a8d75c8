--- The native properties of zfs, as one table: what each is on, what it can be, what it is if nobody says.
--
-- In the order in which `zfs get all` shows them. Columns: name; on what (f filesystem, v volume, s snapshot, b bookmark);
-- ro = read-only, set = can be set but is not inherited, inherit = can be set and is inherited; kind of value; default.
-- Kinds: size, none (a size that is called none if 0), number, guid, date, text, yes (computed words); or the words allowed.

local native = {}

local TABLE = [[
type                 fvsb ro      text    -
creation             fvsb ro      date    -
used                 fvs  ro      size    -
available            fv   ro      size    -
referenced           fvsb ro      size    -
compressratio        fvs  ro      ratio   -
mounted              f    ro      text    -
origin               fv   ro      text    -
quota                f    set     none    0
reservation          fv   set     none    0
volsize              v    set     size    -
volblocksize         v    ro      size    16384
recordsize           f    inherit size    131072
mountpoint           f    inherit text    -
sharenfs             f    inherit text    off
checksum             fv   inherit on|off|fletcher2|fletcher4|sha256|sha512|skein|edonr|blake3 on
compression          fv   inherit text    on
atime                f    inherit on|off  on
devices              fs   inherit on|off  on
exec                 fs   inherit on|off  on
setuid               fs   inherit on|off  on
readonly             fv   inherit on|off  off
zoned                f    inherit on|off  off
snapdir              f    inherit disabled|hidden|visible hidden
aclmode              f    inherit discard|groupmask|passthrough|restricted discard
aclinherit           f    inherit discard|noallow|restricted|passthrough|passthrough-x restricted
createtxg            fvsb ro      number  -
canmount             f    set     on|off|noauto on
xattr                fs   inherit on|off|dir|sa on
copies               fv   inherit 1|2|3   1
version              fs   ro      number  5
utf8only             fs   ro      text    off
normalization        fs   ro      text    none
casesensitivity      fs   ro      text    sensitive
vscan                f    inherit on|off  off
nbmand               fs   inherit on|off  off
sharesmb             f    inherit text    off
refquota             f    set     none    0
refreservation       fv   set     none    0
guid                 fvsb ro      guid    -
primarycache         fvs  inherit all|none|metadata all
secondarycache       fvs  inherit all|none|metadata all
usedbysnapshots      fv   ro      size    -
usedbydataset        fv   ro      size    -
usedbychildren       fv   ro      size    -
usedbyrefreservation fv   ro      size    -
logbias              fv   inherit latency|throughput latency
defer_destroy        s    ro      text    -
userrefs             s    ro      number  -
clones               s    ro      text    -
objsetid             fvs  ro      number  -
dedup                fv   inherit text    off
mlslabel             fvs  inherit text    none
sync                 fv   inherit standard|always|disabled standard
dnodesize            f    inherit legacy|auto|1k|2k|4k|8k|16k legacy
refcompressratio     fvs  ro      ratio   -
written              fvs  ro      size    -
logicalused          fv   ro      size    -
logicalreferenced    fvsb ro      size    -
volmode              fv   inherit default|full|geom|dev|none default
filesystem_limit     f    set     text    none
snapshot_limit       fv   set     text    none
filesystem_count     f    ro      text    none
snapshot_count       fv   ro      text    none
snapdev              fv   inherit hidden|visible hidden
acltype              fs   inherit off|nfsv4|posix off
context              fvs  set     text    none
fscontext            fvs  set     text    none
defcontext           fvs  set     text    none
rootcontext          fvs  set     text    none
relatime             f    inherit on|off  on
redundant_metadata   fv   inherit all|most|some|none all
overlay              f    inherit on|off  on
encryption           fvs  ro      text    off
keylocation          fv   set     text    none
keyformat            fv   ro      text    none
pbkdf2iters          fv   ro      number  0
encryptionroot       fv   ro      text    -
keystatus            fv   ro      text    -
special_small_blocks fv   inherit number  0
receive_resume_token fv   ro      text    -
prefetch             fvs  inherit none|metadata|all all
]]

-- Only `create` may give these; afterwards they can't be changed.
local ONCE = "volblocksize utf8only normalization casesensitivity encryption keyformat pbkdf2iters version"

-- Other spellings that zfs takes for a column.
native.ALIASES = {
  avail = "available", refer = "referenced", reserv = "reservation", refreserv = "refreservation", recsize = "recordsize",
  compress = "compression", rdonly = "readonly", volblock = "volblocksize", ratio = "compressratio", lused = "logicalused",
  lrefer = "logicalreferenced", usedsnap = "usedbysnapshots", usedds = "usedbydataset", usedchild = "usedbychildren",
  usedrefreserv = "usedbyrefreservation", crtxg = "createtxg",
}

-- What `zfs list` writes above a column; else the name in capitals.
native.HEADERS = {
  available = "AVAIL", referenced = "REFER", reservation = "RESERV", refreservation = "REFRESERV", recordsize = "RECSIZE",
  compression = "COMPRESS", readonly = "RDONLY", volblocksize = "VOLBLOCK", compressratio = "RATIO", logicalused = "LUSED",
  logicalreferenced = "LREFER", usedbysnapshots = "USEDSNAP", usedbydataset = "USEDDS", usedbychildren = "USEDCHILD",
  usedbyrefreservation = "USEDREFRESERV",
}

native.NUMERIC = { size = true, none = true, number = true, guid = true, ratio = true }

-- Those that `zfs get all` leaves out where they have no value.
native.OPTIONAL = { origin = true, clones = true, encryptionroot = true, keystatus = true, receive_resume_token = true }

-- Defaults of OpenZFS 2.0 and 2.1, where they are others.
native.BEFORE_2_2 = { compression = "off", volblocksize = 8192 }

native.order = {}
native.by_name = {}

for name, on, edit, kind, default in TABLE:gmatch "(%S+) +(%S+) +(%S+) +(%S+) +(%S+)" do
  local p = { name = name, on = on, edit = edit, kind = kind, default = default ~= "-" and default or nil }
  if kind:find("|", 1, true) then
    p.kind, p.words, p.word_list = "word", {}, {}
    for word in kind:gmatch "[^|]+" do
      p.words[word] = true
      p.word_list[#p.word_list + 1] = word
    end
  elseif native.NUMERIC[kind] and p.default and kind ~= "guid" then
    p.default = math.tointeger(tonumber(p.default))
  end
  native.order[#native.order + 1] = p
  native.by_name[name] = p
end
for name in ONCE:gmatch "%S+" do native.by_name[name].once = true end

return native
