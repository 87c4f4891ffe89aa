//go:build unix

// Command services starts and stops what local work needs: an SQS queue with its dead-letter queue, and
// a Postgres.
//
//	eval "$(go run ./test/services start)"   # prints export lines; all else goes to standard error
//	eval "$(go run ./test/services stop)"    # prints what to unset
//
// With a Docker engine it starts compose.yaml. Without one, or if it cannot pull the images, it runs
// servers from packages on loopback (packages localpg and localstack), which a background process holds
// until stop. Stopping deletes the data. SERVICES=docker or SERVICES=packages chooses.
//
// Run it in the repository's folder. It keeps its state in .local/run. A second start finds the running
// services and changes nothing.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"example.com/owner/sluice/test/localstack"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Getenv("SERVICES"), os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, mode string, stdout, stderr io.Writer) int {
	var err error
	switch {
	case len(args) != 1:
		err = errUsage
	case args[0] == "start":
		err = start(ctx, mode, stdout, stderr)
	case args[0] == "stop":
		err = stop(ctx, stdout, stderr)
	case args[0] == "serve": // start runs this in the background
		err = serve(ctx, stderr)
	default:
		err = errUsage
	}
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage):
		fmt.Fprintln(stderr, err) //nolint:errcheck // nowhere to report it
		return 2
	default:
		fmt.Fprintln(stderr, "services:", err) //nolint:errcheck // as above
		return 1
	}
}

var errUsage = errors.New("usage: services start|stop")

func start(ctx context.Context, mode string, stdout, stderr io.Writer) error {
	if mode != "" && mode != modeDocker && mode != modePackages {
		return fmt.Errorf("SERVICES %q is neither %s nor %s", mode, modeDocker, modePackages)
	}
	if _, err := os.Stat("go.mod"); err != nil {
		return errors.New("run it in the repository's folder")
	}
	if err := os.MkdirAll(runDir, 0o700); err != nil {
		return err
	}
	unlock, err := localstack.Lock(ctx, path("start.lock"))
	if err != nil {
		return err
	}
	defer unlock()
	s, err := running(ctx, stderr)
	if err != nil {
		return err
	}
	if s == nil {
		if s, err = begin(ctx, mode, stderr); err != nil {
			return err
		}
	}
	fmt.Fprintf(stderr, "%s (%s); queue %s, dead-letter queue %s. `make stop` ends them.\n", s.What, s.Where, queueName, deadName) //nolint:errcheck // as above
	if terminal(stdout) {
		fmt.Fprintln(stderr, "This shell has their settings after these lines, or after eval \"$(make -s start)\":") //nolint:errcheck // as above
	}
	_, err = io.WriteString(stdout, s.exports())
	return err
}

// terminal reports whether a person reads w, rather than eval.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// running returns the services of an earlier start, nil if there are none that answer.
func running(ctx context.Context, stderr io.Writer) (*state, error) {
	s, err := load()
	if s == nil || err != nil {
		return nil, err
	}
	err = s.check(ctx)
	if err == nil {
		fmt.Fprintf(stderr, "running since %s\n", s.Since.Format("2006-01-02 15:04:05")) //nolint:errcheck // as above
		return s, nil
	}
	fmt.Fprintf(stderr, "the running services do not answer, starting new ones: %v\n", err) //nolint:errcheck // as above
	return nil, end(ctx, stderr)
}

func begin(ctx context.Context, mode string, stderr io.Writer) (*state, error) {
	if mode == modePackages {
		return startPackages(ctx, stderr)
	}
	reason := dockerMissing(ctx)
	if reason == nil {
		s, err := startDocker(ctx, stderr)
		if err == nil {
			return s, nil
		}
		reason = err
	}
	if mode == modeDocker || ctx.Err() != nil {
		return nil, reason
	}
	fmt.Fprintf(stderr, "without containers: %v\n", reason) //nolint:errcheck // as above
	return startPackages(ctx, stderr)
}

// stop ends the services, and prints what to unset: also when nothing runs, because a shell may still have
// the settings of services that ended by themselves.
func stop(ctx context.Context, stdout, stderr io.Writer) error {
	if err := end(ctx, stderr); err != nil {
		return err
	}
	if terminal(stdout) {
		fmt.Fprintln(stderr, "A shell that has their settings forgets them with this line, or with eval \"$(make -s stop)\":") //nolint:errcheck // as above
	}
	_, err := io.WriteString(stdout, unsets())
	return err
}

func end(ctx context.Context, stderr io.Writer) error {
	s, err := load()
	if err != nil {
		return err
	}
	if s != nil && s.Mode == modeDocker {
		err = stopDocker(ctx, stderr)
	} else {
		err = stopPackages(ctx, stderr)
	}
	return errors.Join(err, forget())
}
