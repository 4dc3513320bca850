package worker

import "golang.org/x/sys/unix"

const auditArch = unix.AUDIT_ARCH_X86_64

// callsOfArch are those that only this machine has.
var callsOfArch = [...]uint32{unix.SYS_EPOLL_WAIT, unix.SYS_ARCH_PRCTL}
