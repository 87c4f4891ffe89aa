// Package runtimeapi is a small stand-in for Lambda's runtime API. The real binary of a function
// runs under it: it hands out events and receives the answers. Tests and measurements import it.
//
// The protocol is in the Lambda Developer Guide, "Using the Lambda runtime API for custom
// runtimes".
package runtimeapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Answer is the result of one event.
type Answer struct {
	// Body is the answer, or the error's JSON if Failed.
	Body   []byte
	Failed bool
}

// Function is one running process of a function.
type Function struct {
	server   *http.Server
	cmd      *exec.Cmd
	events   chan []byte
	answers  chan Answer
	polled   chan struct{} // closed at the first request for work
	exited   chan struct{}
	timeout  time.Duration
	mu       sync.Mutex
	requests int
}

// Start runs a binary under its own runtime API. env is its whole environment, except the variables
// that Lambda sets. timeout is the time that each invocation is told it has.
func Start(ctx context.Context, binary string, env []string, timeout time.Duration, output io.Writer) (*Function, error) {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	f := &Function{
		events: make(chan []byte), answers: make(chan Answer, 1), polled: make(chan struct{}), exited: make(chan struct{}), timeout: timeout,
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", f.next)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/response", f.answer(false))
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/error", f.answer(true))
	mux.HandleFunc("POST /2018-06-01/runtime/init/error", f.answer(true))
	mux.HandleFunc("POST /2020-01-01/extension/register", register)
	mux.HandleFunc("GET /2020-01-01/extension/event/next", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	f.server = &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go f.server.Serve(listener) //nolint:errcheck // it ends with Kill

	f.cmd = exec.Command(binary)
	f.cmd.Env = append(slices.Clip(env), "AWS_LAMBDA_RUNTIME_API="+listener.Addr().String(), "AWS_LAMBDA_FUNCTION_NAME=sluice", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE=256", "_HANDLER=bootstrap", "TZ=:UTC")
	f.cmd.Stdout, f.cmd.Stderr = output, output
	if err := f.cmd.Start(); err != nil {
		return nil, errors.Join(err, f.server.Close())
	}
	go func() {
		_ = f.cmd.Wait() // how it ended shows in its answers
		close(f.exited)
	}()
	return f, nil
}

// register answers a function that registers as an extension without events, which makes Lambda
// send it SIGTERM before the end.
func register(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Lambda-Extension-Identifier", "00000000-0000-4000-8000-000000000000")
	w.WriteHeader(http.StatusOK)
}

func (f *Function) next(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	f.requests++
	n := f.requests
	f.mu.Unlock()
	if n == 1 {
		close(f.polled)
	}
	select {
	case event := <-f.events:
		w.Header().Set("Lambda-Runtime-Aws-Request-Id", "00000000-0000-4000-8000-"+fmt.Sprintf("%012d", n))
		w.Header().Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(time.Now().Add(f.timeout).UnixMilli(), 10))
		w.Header().Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:eu-central-1:123456789012:function:sluice")
		_, _ = w.Write(event) // a killed function reads no more
	case <-r.Context().Done():
	}
}

func (f *Function) answer(failed bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // killed in the middle of its answer
		}
		f.answers <- Answer{body, failed}
		w.WriteHeader(http.StatusAccepted)
	}
}

// Polled returns a channel that is closed when the function first asks for work.
func (f *Function) Polled() <-chan struct{} { return f.polled }

// Send hands out an event. The answer arrives in Answers.
func (f *Function) Send(event []byte) error {
	select {
	case f.events <- event:
		return nil
	case <-f.exited:
		return errors.New("the function has ended")
	}
}

// Answers returns the answers of the function, in order.
func (f *Function) Answers() <-chan Answer { return f.answers }

// Exited returns a channel that is closed when the process has ended.
func (f *Function) Exited() <-chan struct{} { return f.exited }

// Invoke sends an event and waits for its answer.
func (f *Function) Invoke(event []byte) (Answer, error) {
	if err := f.Send(event); err != nil {
		return Answer{}, err
	}
	select {
	case a := <-f.answers:
		return a, nil
	case <-f.exited:
		return Answer{}, errors.New("the function ended without an answer")
	}
}

// PID returns the number of the process.
func (f *Function) PID() int { return f.cmd.Process.Pid }

// Terminate asks the process to end, as Lambda does before a shutdown.
func (f *Function) Terminate() error { return f.cmd.Process.Signal(syscall.SIGTERM) }

// Kill kills the process (kill -9) and ends its runtime API.
func (f *Function) Kill() {
	_ = f.cmd.Process.Kill() // it may have ended
	<-f.exited
	_ = f.server.Close() // nobody is left to talk to
}

// Build builds the function as it is deployed, for this machine.
func Build(ctx context.Context, directory, output string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-tags", "lambda.norpc", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", output, directory)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w: %s", directory, err, strings.TrimSpace(string(text)))
	}
	return nil
}
