// Package sqstest is an SQS in the test's own process, for code that talks to SQS with the real
// SDK: it speaks the AWS JSON 1.0 protocol on loopback, and a test can make it fail in every way
// that a network and a service can.
//
// Its queues are those of internal/testing/esmsim, which has the rules of SQS; here their clock
// follows the wall clock. It answers SendMessageBatch, ReceiveMessage, DeleteMessageBatch,
// ChangeMessageVisibilityBatch, GetQueueAttributes and GetQueueUrl. Signatures are not checked.
//
// For hours of outage there is the virtual clock of esmsim. Tests only may import it.
package sqstest

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"example.com/owner/sluice/internal/sqs"
	"example.com/owner/sluice/internal/testing/esmsim"
)

// Region is where the queues are.
const Region = esmsim.Region

// Server is an SQS with any number of queues.
type Server struct {
	// URL is its endpoint.
	URL  string
	http *httptest.Server

	mu     sync.Mutex
	sim    *esmsim.Sim
	began  time.Time
	queues map[string]*Queue
	fault  func(Call) *Fault
	calls  []Call
	counts map[string]int // of the calls, by operation
	closed chan struct{}
}

// Call is a call as the server got it.
type Call struct {
	Operation string
	// Queue is the name of the queue.
	Queue string
	// Entries are the bodies or the receipt handles of a batch.
	Entries []string
	// Nth counts the calls of this operation, from 1.
	Nth int
	// Region is the one that the call is signed for.
	Region string
	// Host is the one that the call was sent to.
	Host string
	// Input is the call as it came.
	Input json.RawMessage
}

// Fault is what becomes of a call instead of its answer. The zero value does
// nothing.
type Fault struct {
	// Code fails the call: an error of that code, with Status (400 when 0)
	// and Message.
	Code, Message string
	Status        int
	// Entries fail entries of a batch, by index; the others go on.
	Entries map[int]EntryFault
	// Delay is how long the call hangs before anything else.
	Delay time.Duration
	// Lost does what was asked, and closes the connection without an answer.
	Lost bool
	// Answer is sent instead of an answer, with Status (200 when 0), and
	// nothing is done.
	Answer *string
}

// EntryFault is an entry of a Failed list.
type EntryFault struct {
	Code, Message string
	SenderFault   bool
}

// New starts a server. Close it.
func New() *Server {
	began := time.Now()
	s := &Server{sim: esmsim.Since(began), began: began, queues: map[string]*Queue{}, counts: map[string]int{}, closed: make(chan struct{})}
	s.http = httptest.NewServer(s)
	s.URL = s.http.URL
	return s
}

// Close stops it, and ends the calls that hang.
func (s *Server) Close() {
	close(s.closed)
	s.http.CloseClientConnections()
	s.http.Close()
}

// lock takes the server's lock, and has the simulation catch up with the wall clock.
func (s *Server) lock() {
	s.mu.Lock()
	s.sim.Run(time.Since(s.began))
}

// Client is a client of the server, whatever the environment says.
func (s *Server) Client() *sqs.Client {
	return sqs.FromConfig(aws.Config{
		Region: Region, BaseEndpoint: &s.URL,
		Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
}

// Inject asks a function about every call from now on; nil asks none.
func (s *Server) Inject(fault func(Call) *Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

// Calls lists the calls of an operation, "" for all.
func (s *Server) Calls(operation string) []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	var calls []Call
	for _, c := range s.calls {
		if operation == "" || c.Operation == operation {
			calls = append(calls, c)
		}
	}
	return calls
}

func invalid(format string, args ...any) error {
	return &esmsim.Error{Code: "InvalidParameterValue", Message: fmt.Sprintf(format, args...)}
}

// queryCode is the code of the old protocol, which the SDK shows; "" for none.
func queryCode(code string) string {
	switch code {
	case "InvalidParameterValue":
		return code
	case "QueueDoesNotExist":
		return "AWS.SimpleQueueService.NonExistentQueue"
	case "MissingParameter", "SerializationException", "UnknownOperationException":
		return ""
	default:
		return "AWS.SimpleQueueService." + code
	}
}

// ServeHTTP answers one call.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	var in input
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	if err := json.Unmarshal(body, &in); err != nil || operation == "" {
		answer(w, nil, &esmsim.Error{Code: "SerializationException", Message: "no call of AWS JSON 1.0"})
		return
	}
	fault := s.note(r, operation, body, &in)
	select {
	case <-time.After(fault.Delay):
	case <-r.Context().Done():
		return
	case <-s.closed:
		return
	}
	switch {
	case fault.Answer != nil:
		w.WriteHeader(max(fault.Status, http.StatusOK))
		_, _ = io.WriteString(w, *fault.Answer)
		return
	case fault.Code != "":
		write(w, cmp.Or(fault.Status, http.StatusBadRequest), problem(fault.Code, fault.Message))
		return
	}
	out, err := s.perform(r.Context(), operation, &in, fault.Entries)
	if fault.Lost {
		panic(http.ErrAbortHandler)
	}
	answer(w, out, err)
}

// note remembers the call and asks for its fault.
func (s *Server) note(r *http.Request, operation string, body []byte, in *input) Fault {
	s.mu.Lock()
	call := Call{Operation: operation, Queue: path.Base(in.QueueUrl), Host: r.Host, Input: body}
	if in.QueueName != "" {
		call.Queue = in.QueueName
	}
	if _, scope, ok := strings.Cut(r.Header.Get("Authorization"), "Credential="); ok {
		if parts := strings.Split(scope, "/"); len(parts) > 2 {
			call.Region = parts[2]
		}
	}
	for _, e := range in.Entries {
		call.Entries = append(call.Entries, e.MessageBody+e.ReceiptHandle)
	}
	s.counts[operation]++
	call.Nth = s.counts[operation]
	s.calls = append(s.calls, call)
	ask := s.fault
	s.mu.Unlock()
	if ask != nil {
		if fault := ask(call); fault != nil {
			return *fault
		}
	}
	return Fault{}
}

func answer(w http.ResponseWriter, out any, err error) {
	status := http.StatusOK
	if refusal, ok := errors.AsType[*esmsim.Error](err); ok {
		if code := queryCode(refusal.Code); code != "" {
			w.Header().Set("X-Amzn-Query-Error", code+";Sender")
		}
		status, out = http.StatusBadRequest, problem(refusal.Code, refusal.Message)
	}
	write(w, status, out)
}

func problem(code, text string) map[string]string {
	return map[string]string{"__type": "com.amazonaws.sqs#" + code, "message": text}
}

func write(w http.ResponseWriter, status int, out any) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(out) // the client has gone
}
