//go:build unix

// Package localstack runs LocalStack, an emulator of AWS, on this machine without a container: SQS,
// Secrets Manager, Lambda with event source mappings, CloudFormation with the SAM transform, and what
// these need.
//
//	Start ─► install: Python's packages, once, into a folder ─► python -m localstack on 127.0.0.1 ─► Client
//
// Guarantees:
//   - It listens on 127.0.0.1 only, writes only into its own folder and its log, and calls no other host.
//   - Functions run as processes of this machine (procexec), so they reach other servers on loopback.
//   - Stop ends it and its functions, and nothing else. On Linux it ends with this process, however
//     that ends.
//
// Differences from AWS that our tests meet: a mapping has one poller and no concurrency; a body that is
// JSON reaches the function as Python writes it again (12.50 becomes 12.5, and the last of two equal
// names stays); policies are stored and not enforced, not even a Deny; a message that nobody deletes
// reappears up to a second late; stacks must be created one after the other, and a stack whose
// conditions leave resources out cannot be deleted; a stack that fails is not rolled back, and a
// DeletionPolicy is ignored; dashboards are accepted and not created.
//
// Only tests and test/services import it.
package localstack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Version is LocalStack's, as in requirements.txt.
const Version = "4.13.1"

// services are the services of AWS that it offers.
const services = "sqs,secretsmanager,lambda,iam,sts,logs,s3,cloudformation,cloudwatch"

const (
	startTimeout = 3 * time.Minute
	stopTimeout  = time.Second
)

// Config configures Start.
type Config struct {
	// Dir is the folder of the installation (250 MB, once for each version) and of the files of the
	// running server.
	Dir string
	// Log is the file of its log, which Start overwrites. Its folder must exist.
	Log string
	// Port is the port that it listens on, "" for any free one.
	Port string
	// Progress gets a line before something that takes long. nil discards it.
	Progress io.Writer
}

// Server is a running LocalStack. It runs until Stop or the end of this process.
type Server struct {
	*Client

	log  string
	dir  *runDir // its files
	cmd  *exec.Cmd
	done chan struct{}
}

// Start installs LocalStack if it is missing, starts it, and returns when it answers. The context limits
// only the start.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.Progress == nil {
		cfg.Progress = io.Discard
	}
	venv, err := install(ctx, cfg.Dir, cfg.Progress)
	if err != nil {
		return nil, fmt.Errorf("localstack: %w", err)
	}
	port := cfg.Port
	if port == "" {
		if port, err = FreePort(0); err != nil {
			return nil, fmt.Errorf("localstack: %w", err)
		}
	}
	address := net.JoinHostPort("127.0.0.1", port)
	s := &Server{Client: NewClient("http://" + address), log: cfg.Log, done: make(chan struct{})}
	if s.dir, err = newRunDir(ctx, cfg.Dir); err != nil {
		return nil, fmt.Errorf("localstack: %w", err)
	}
	if err := s.launch(ctx, venv, address); err != nil {
		return nil, errors.Join(fmt.Errorf("localstack: %w", err), s.Stop())
	}
	return s, nil
}

// Done returns a channel that is closed when it has ended.
func (s *Server) Done() <-chan struct{} { return s.done }

// Pause stops it like a machine that hangs: it accepts connections and answers nothing until Resume.
func (s *Server) Pause() { signalGroup(s.cmd.Process.Pid, syscall.SIGSTOP) }

// Resume continues it after Pause.
func (s *Server) Resume() { signalGroup(s.cmd.Process.Pid, syscall.SIGCONT) }

// Stop ends it, kills it if it does not end in time, and removes its files except the log.
func (s *Server) Stop() error {
	if s.cmd != nil && s.cmd.Process != nil {
		_ = s.cmd.Process.Signal(os.Interrupt) // an error means that it has ended
		select {
		case <-s.done:
		case <-time.After(stopTimeout):
		}
		signalGroup(s.cmd.Process.Pid, syscall.SIGKILL) // the functions too
		<-s.done
	}
	if err := s.dir.remove(); err != nil {
		return fmt.Errorf("localstack: removing its files: %w", err)
	}
	return nil
}

func (s *Server) launch(ctx context.Context, venv environment, address string) error {
	log, err := os.Create(s.log)
	if err != nil {
		return err
	}
	defer log.Close()
	temp, libraries := filepath.Join(s.dir.path, "tmp"), filepath.Join(s.dir.path, "usr", "lib")
	for _, dir := range []string{temp, libraries} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	if err := os.Symlink(venv.catalog(), filepath.Join(libraries, "localstack")); err != nil {
		return err
	}
	cmd := exec.Command(venv.python(), "-m", "localstack.runtime.main") //nolint:gosec,noctx // the Python that was installed; Stop ends it
	cmd.Dir = s.dir.path
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = ownGroup()
	cmd.Env = append(slices.DeleteFunc(cmd.Environ(), foreign), settings(address, s.dir.path, temp)...)
	started := make(chan error)
	go func() {
		// The kernel ends a child with the thread that started it (see ownGroup), so keep the thread.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in its log
			close(s.done)
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	s.cmd = cmd
	return s.await(ctx)
}

// foreign reports whether a variable of this process configures another AWS, LocalStack or Python.
func foreign(variable string) bool {
	return strings.HasPrefix(variable, "AWS_") || strings.HasPrefix(variable, "LOCALSTACK_") || strings.HasPrefix(variable, "PYTHON")
}

func settings(address, root, temp string) []string {
	return []string{
		"GATEWAY_LISTEN=" + address, "LOCALSTACK_HOST=" + address,
		"GATEWAY_SERVER=hypercorn", // the other one always listens on all interfaces
		"FILESYSTEM_ROOT=" + root, "TMPDIR=" + temp,
		"SERVICES=" + services, "STRICT_SERVICE_LOADING=1",
		"SQS_ENDPOINT_STRATEGY=path", // the others need names that resolve to it
		// Nothing from outside: no usage events, no certificate, no DNS server of its own.
		"DISABLE_EVENTS=1", "SKIP_SSL_CERT_DOWNLOAD=1", "DNS_ADDRESS=0", "OVERRIDE_IN_DOCKER=0",
		"SQS_DISABLE_CLOUDWATCH_METRICS=1",
		"LAMBDA_RUNTIME_EXECUTOR=process", "LAMBDA_SYNCHRONOUS_CREATE=1",
		// The mapping polls at once and does not pause for long.
		"LAMBDA_EVENT_SOURCE_MAPPING_POLL_INTERVAL_SEC=0.05",
		"LAMBDA_EVENT_SOURCE_MAPPING_MAX_BACKOFF_ON_EMPTY_POLL_SEC=0.5",
		"LAMBDA_EVENT_SOURCE_MAPPING_MAX_BACKOFF_ON_ERROR_SEC=2",
		"PYTHONUNBUFFERED=1",
	}
}

func (s *Server) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		err := s.Healthy(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-s.done:
			return fmt.Errorf("it ended: %w; the end of its log:\n%s", err, s.tail())
		case <-ctx.Done():
			return fmt.Errorf("it does not answer: %w; the end of its log:\n%s", err, s.tail())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// signalGroup signals what is left of a child's process group.
func signalGroup(pid int, signal syscall.Signal) { _ = syscall.Kill(-pid, signal) }

// tail returns the end of the log.
func (s *Server) tail() string {
	text, _ := os.ReadFile(s.log)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return "  " + strings.Join(lines[max(0, len(lines)-15):], "\n  ")
}

// FreePort returns the port of 127.0.0.1 if it is free, or else any free one. 0 is any.
func FreePort(port int) (string, error) {
	l, err := net.Listen("tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		l, err = net.Listen("tcp4", "127.0.0.1:0")
	}
	if err != nil {
		return "", fmt.Errorf("looking for a free port: %w", err)
	}
	defer l.Close()
	_, free, err := net.SplitHostPort(l.Addr().String())
	return free, err
}
