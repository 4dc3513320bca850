package worker

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// memoryWall is what a worker may have of writable memory of its own. A reader
// that asks for more ends the process.
const memoryWall = 640 << 20

// walls shuts the worker in, and gives what could not be done.
func walls() (missing []string) {
	check := func(what string, err error) {
		if err != nil {
			missing = append(missing, what+": "+err.Error())
		}
	}
	if raceDetector {
		missing = append(missing, "limit of memory: built with the race detector")
	} else {
		check("limit of memory", limit(unix.RLIMIT_DATA, memoryWall))
	}
	check("limit of file size", limit(unix.RLIMIT_FSIZE, 4<<30))
	check("limit of files", limit(unix.RLIMIT_NOFILE, 16))
	check("limit of core dumps", limit(unix.RLIMIT_CORE, 0))
	// The readers count time themselves; this one ends a worker whose parent is
	// gone and that never looks at its input again.
	check("limit of CPU time", limit(unix.RLIMIT_CPU, 3600))
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM) // of the terminal; the end of the input is the end
	check("filter of system calls", filterSystemCalls())
	return missing
}

func limit(what int, n uint64) error {
	return unix.Setrlimit(what, &unix.Rlimit{Cur: n, Max: n})
}

// callsOfGo are what the runtime of Go and our reading and writing of open
// files need. Everything else, above all open, socket, fork and execve, is
// refused with EPERM.
var callsOfGo = [...]uint32{
	unix.SYS_READ, unix.SYS_WRITE, unix.SYS_PREAD64, unix.SYS_PWRITE64, unix.SYS_LSEEK, unix.SYS_CLOSE, unix.SYS_FSTAT, unix.SYS_FCNTL,
	unix.SYS_MMAP, unix.SYS_MUNMAP, unix.SYS_MPROTECT, unix.SYS_MADVISE, unix.SYS_MINCORE, unix.SYS_BRK, unix.SYS_MREMAP,
	unix.SYS_FUTEX, unix.SYS_EXIT, unix.SYS_EXIT_GROUP, unix.SYS_GETPID, unix.SYS_GETTID, unix.SYS_TGKILL,
	unix.SYS_RT_SIGACTION, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGRETURN, unix.SYS_SIGALTSTACK,
	unix.SYS_NANOSLEEP, unix.SYS_CLOCK_GETTIME, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_GETTIMEOFDAY, unix.SYS_SCHED_YIELD, unix.SYS_SCHED_GETAFFINITY,
	unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EPOLL_PWAIT, unix.SYS_EVENTFD2, unix.SYS_PIPE2,
	unix.SYS_GETRANDOM, unix.SYS_GETRUSAGE, unix.SYS_RESTART_SYSCALL, unix.SYS_RSEQ, unix.SYS_SET_ROBUST_LIST,
	unix.SYS_TIMER_CREATE, unix.SYS_TIMER_SETTIME, unix.SYS_TIMER_DELETE, unix.SYS_SETITIMER, unix.SYS_MEMBARRIER,
}

const (
	retAllow = 0x7fff0000
	retErrno = 0x00050000
	retKill  = 0x80000000
)

// filterSystemCalls forbids the process, with all its threads, what it does not need.
func filterSystemCalls() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	prog := filterProgram()
	f := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	// TSYNC takes the other threads along, and sets no_new_privs on them.
	if r, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&f))); e != 0 {
		return e
	} else if r != 0 {
		return fmt.Errorf("thread %d would not take it", r)
	}
	return nil
}

// filterProgram is BPF over struct seccomp_data: number at 0, architecture at 4,
// arguments from 16 on.
func filterProgram() []unix.SockFilter {
	load := func(at uint32) unix.SockFilter { return unix.SockFilter{Code: 0x20, K: at} }
	ret := func(v uint32) unix.SockFilter { return unix.SockFilter{Code: 0x06, K: v} }
	skipUnless := func(v uint32, n uint8) unix.SockFilter { return unix.SockFilter{Code: 0x15, K: v, Jf: n} } // equal: go on
	p := []unix.SockFilter{load(4), skipUnless(auditArch, 0), load(0)}
	p[1] = unix.SockFilter{Code: 0x15, K: auditArch, Jt: 1}
	p = append(p[:2], ret(retKill), load(0))
	for _, nr := range append(callsOfGo[:], callsOfArch[:]...) {
		p = append(p, skipUnless(nr, 1), ret(retAllow))
	}
	// New threads, but no processes.
	p = append(p, skipUnless(unix.SYS_CLONE, 3), load(16), unix.SockFilter{Code: 0x45, K: unix.CLONE_THREAD, Jf: 1}, ret(retAllow))
	p = append(p, load(0), skipUnless(unix.SYS_CLONE3, 1), ret(retErrno|uint32(unix.ENOSYS)))
	return append(p, ret(retErrno|uint32(unix.EPERM)))
}

func mapFile(f *os.File, off, size int64) []byte {
	b, err := unix.Mmap(int(f.Fd()), off, int(size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		panic(err) // the worker is of no more use
	}
	return b
}

func unmap(b []byte) { _ = unix.Munmap(b) } // it is one of ours
