package localstack

import "syscall"

// ownGroup puts a child into a process group of its own, so that a Ctrl-C at our terminal does not reach it before us, and makes the
// kernel end it when we end, however we end.
func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
