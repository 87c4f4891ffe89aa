package localpg

import "syscall"

// endWithParent makes the kernel send the child an immediate shutdown when we end, however we end. A process group of
// its own keeps a Ctrl-C at our terminal from ending the server before we have.
func endWithParent(attr *syscall.SysProcAttr) {
	attr.Pdeathsig = syscall.SIGQUIT
	attr.Setpgid = true
}
