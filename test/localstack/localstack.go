//go:build unix

// Package localstack runs LocalStack, an emulator of AWS, on this machine without a container: SQS, Secrets Manager, Lambda with
// event source mappings, CloudFormation with the SAM transform, and what these need.
//
//	Start ─► install: Python's packages, once, into a folder ─► python -m localstack on 127.0.0.1 ─► Client
//
// What holds:
//   - It listens on 127.0.0.1 alone, keeps all that it writes in a folder of its own and its log, and asks no other host for anything.
//   - Functions run as processes of this machine (procexec), so they reach other servers on loopback.
//   - Stop ends it and its functions, and nothing else. On Linux it ends with this process, however that ends.
//
// Where it differs from AWS, as far as our tests meet it: a mapping has one poller and no concurrency; a body that is JSON reaches
// the function as Python writes it again (so 12.50 becomes 12.5, and of two equal names the last stays); a policy is stored and not
// enforced, not even a Deny; a message that is not answered for comes back up to a second late; stacks must be made one after
// the other, and one whose conditions leave resources out cannot be deleted; dashboards are taken and not made.
//
// Tests and the program for local services import it, and never sluice itself.
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
	"strings"
	"syscall"
	"time"
)

// Version is LocalStack's, as in requirements.txt.
const Version = "4.13.1"

// services are those of AWS that it offers.
const services = "sqs,secretsmanager,lambda,iam,sts,logs,s3,cloudformation,cloudwatch"

const (
	startTimeout = 3 * time.Minute
	stopTimeout  = time.Second
)

// Config says how to run it.
type Config struct {
	// Dir is where it is installed, once for each version, 250 MB, and where it has its files while it runs.
	Dir string
	// Log is the file for its log, which is overwritten. The folder must exist.
	Log string
	// Port is where it listens; "" chooses a free one.
	Port string
	// Progress gets a line when something takes long enough to wonder about. nil discards it.
	Progress io.Writer
}

// Server is a running LocalStack. It lasts until Stop or the end of this process.
type Server struct {
	*Client

	log  string
	dir  *runDir // its files
	cmd  *exec.Cmd
	done chan struct{}
}

// Start installs LocalStack if need be, starts it, and returns once it answers. The context bounds the start alone.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.Progress == nil {
		cfg.Progress = io.Discard
	}
	venv, err := install(ctx, cfg.Dir, cfg.Progress)
	if err != nil {
		return nil, fmt.Errorf("localstack: %w", err)
	}
	address, err := loopback(cfg.Port)
	if err != nil {
		return nil, fmt.Errorf("localstack: %w", err)
	}
	s := &Server{Client: NewClient("http://" + address), log: cfg.Log, done: make(chan struct{})}
	if s.dir, err = newRunDir(ctx, cfg.Dir); err != nil {
		return nil, fmt.Errorf("localstack: %w", err)
	}
	if err := s.launch(ctx, venv, address); err != nil {
		return nil, errors.Join(fmt.Errorf("localstack: %w", err), s.Stop())
	}
	return s, nil
}

// Done is closed when it has ended.
func (s *Server) Done() <-chan struct{} { return s.done }

// Pause stops it as a machine that hangs does: it takes connections and answers nothing, until Resume.
func (s *Server) Pause() { signalGroup(s.cmd.Process.Pid, syscall.SIGSTOP) }

// Resume lets it go on.
func (s *Server) Resume() { signalGroup(s.cmd.Process.Pid, syscall.SIGCONT) }

// Stop ends it, at once if it does not end by itself, and removes its files but the log.
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
		// The kernel ends a child with the thread that started it (see ownGroup): so this one stays.
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

// foreign are variables of our environment that mean another AWS, another LocalStack or another Python.
func foreign(variable string) bool {
	return strings.HasPrefix(variable, "AWS_") || strings.HasPrefix(variable, "LOCALSTACK_") || strings.HasPrefix(variable, "PYTHON")
}

func settings(address, root, temp string) []string {
	return []string{
		"GATEWAY_LISTEN=" + address, "LOCALSTACK_HOST=" + address,
		"GATEWAY_SERVER=hypercorn", // the other one listens on all interfaces, whatever it is told
		"FILESYSTEM_ROOT=" + root, "TMPDIR=" + temp,
		"SERVICES=" + services, "STRICT_SERVICE_LOADING=1",
		"SQS_ENDPOINT_STRATEGY=path", // the others need names that resolve to it
		// Nothing from outside: no usage events, no certificate, no DNS server of its own.
		"DISABLE_EVENTS=1", "SKIP_SSL_CERT_DOWNLOAD=1", "DNS_ADDRESS=0", "OVERRIDE_IN_DOCKER=0",
		"SQS_DISABLE_CLOUDWATCH_METRICS=1",
		"LAMBDA_RUNTIME_EXECUTOR=process", "LAMBDA_SYNCHRONOUS_CREATE=1",
		// A mapping that is made for tests: it polls at once, and does not pause for long.
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

// signalGroup reaches what is left of a child's group.
func signalGroup(pid int, signal syscall.Signal) { _ = syscall.Kill(-pid, signal) }

// tail is the end of the log, for an error.
func (s *Server) tail() string {
	text, _ := os.ReadFile(s.log)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return "  " + strings.Join(lines[max(0, len(lines)-15):], "\n  ")
}

// loopback is the address for a port, a free one if it is "".
func loopback(port string) (string, error) {
	if port != "" {
		return net.JoinHostPort("127.0.0.1", port), nil
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("looking for a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}
