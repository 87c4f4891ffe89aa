package localpg

import "syscall"

// endWithParent makes the kernel send the child an immediate shutdown when this process ends,
// however it ends. A separate process group keeps a Ctrl-C from ending the server before this
// process.
func endWithParent(attr *syscall.SysProcAttr) {
	attr.Pdeathsig = syscall.SIGQUIT
	attr.Setpgid = true
}
