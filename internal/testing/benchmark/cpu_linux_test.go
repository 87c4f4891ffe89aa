package benchmark_test

import (
	"bytes"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// cpu returns the CPU time of a process, all threads together, in nanoseconds' precision: its clock
// as clock_getcpuclockid(3) names it. It is 0 if there is no such process.
func cpu(process int) time.Duration {
	var ts unix.Timespec
	const scheduled = 2 // CPUCLOCK_SCHED, of a process
	if process == 0 || unix.ClockGettime(int32(^process)<<3|scheduled, &ts) != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// isPostgres reports whether a process of this machine has this number and is Postgres's: the server
// may be elsewhere.
func isPostgres(process int) bool {
	title, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", process))
	return err == nil && bytes.HasPrefix(title, []byte("postgres: "))
}
