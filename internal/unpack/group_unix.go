//go:build unix

package unpack

import (
	"os"
	"os/exec"
	"syscall"
)

// ownGroup gives the worker a process group, so that a signal from a terminal
// does not reach it and a kill reaches all of it.
func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// killGroup kills the process and its group. It may be gone already.
func killGroup(p *os.Process) {
	_ = syscall.Kill(-p.Pid, syscall.SIGKILL)
	_ = p.Kill()
}
