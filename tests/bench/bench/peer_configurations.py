"""Configurations of the peers: as quick as they are with every message durable before its 250."""

from typing import Final

POSTFIX_MAIN: Final = """\
compatibility_level = 3.6
queue_directory = {home}/spool
data_directory = {home}/data
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
meta_directory = /etc/postfix
shlib_directory = /usr/lib/postfix
mail_owner = postfix
setgid_group = postdrop
maillog_file = {home}/mail.log
maillog_file_prefixes = /
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = perf.test
mydestination =
local_recipient_maps =
alias_maps =
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_client_restrictions =
smtpd_peername_lookup = no
in_flow_delay = 0s
default_process_limit = 100
message_size_limit = 100000000
virtual_mailbox_limit = 0
smtp_dns_support_level = disabled
smtp_host_lookup = native
virtual_mailbox_domains = local.test
virtual_transport = lmtp:inet:127.0.0.1:{lmtp}
transport_maps = inline:{{bench.test=discard:}}
default_destination_concurrency_limit = 50
initial_destination_concurrency = 20
default_destination_recipient_limit = 50
lmtp_connection_cache_on_demand = yes
qmgr_message_active_limit = 20000
"""

POSTFIX_MASTER: Final = """\
127.0.0.1:{smtp} inet n - n - 100 smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""

DOVECOT: Final = """\
base_dir = {home}/run
state_dir = {home}/state
log_path = {home}/dovecot.log
protocols = imap lmtp
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
first_valid_uid = 500
mail_max_userip_connections = 6000
mail_location = maildir:~/Maildir
default_process_limit = 6000
default_client_limit = 8000
default_vsz_limit = 1024M
passdb {{
  driver = static
  args = password=pw
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={home}/mail/%n
}}
service imap-login {{
  service_count = 0
  process_min_avail = 2
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service imap {{
  process_limit = 6000
}}
service lmtp {{
  process_min_avail = 4
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {lmtp}
  }}
}}
protocol lmtp {{
  postmaster_address = postmaster@local.test
}}
namespace inbox {{
  inbox = yes
}}
"""

VSFTPD: Final = """\
listen=YES
listen_address=127.0.0.1
listen_port={port}
background=NO
anonymous_enable=YES
no_anon_password=YES
local_enable=NO
write_enable=YES
anon_upload_enable=YES
anon_other_write_enable=YES
anon_world_readable_only=NO
anon_root={home}/files
ftp_username=daemon
secure_chroot_dir={home}/empty
xferlog_enable=NO
seccomp_sandbox=NO
max_clients=0
max_per_ip=0
"""
