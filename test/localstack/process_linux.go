package localstack

import "syscall"

// ownGroup puts a child into its own process group, so that a Ctrl-C does not reach it before this
// process, and makes the kernel end it when this process ends, however it ends.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
