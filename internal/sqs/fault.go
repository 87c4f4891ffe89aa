package sqs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"sluice/internal/message"
)

// QueueError is why a call did not do what it was asked to. Its text says
// what happened, where, and what to do next, and holds no value of a message.
type QueueError struct {
	// Cause is message.CauseConfiguration, message.CauseTransient, or
	// message.CauseUnsent for an entry that SQS refuses for its own sake.
	Cause message.Cause
	// Code is what SQS calls it, "" when it does not come from SQS.
	Code string
	text string
	// err is the context's error, if that ended the call.
	err error
	// entries says that one of the call's entries may be at fault, so that
	// the others can do without it.
	entries bool
	// again says that another try may do.
	again bool
}

// Error says what happened and what to do next.
func (e *QueueError) Error() string { return e.text }

// Unwrap gives the context's error, so that a deadline can be told.
func (e *QueueError) Unwrap() error { return e.err }

// Missing says whether an error is that there is no such queue, or that what is
// configured can be none.
func Missing(err error) bool {
	e, ok := errors.AsType[*QueueError](err)
	return ok && e.Cause == message.CauseConfiguration && (e.Code == "" || operatorCodes[e.Code] == "queue")
}

// Fault is Cause, for those who do not import this package.
func (e *QueueError) Fault() message.Cause { return e.Cause }

// rank orders errors: the first of several to be shown is the one that
// somebody has to mend.
func (e *QueueError) rank() int {
	switch e.Cause {
	case message.CauseConfiguration:
		return 3
	case message.CauseUnsent:
		return 1
	default:
		return 2
	}
}

// operatorCodes are SQS's refusals that concern every entry and that no time
// heals. Sources: "Common Error Types" of the SQS API Reference, and its Kms… errors.
var operatorCodes = map[string]string{
	"AccessDenied": "access", "AccessDeniedException": "access", "NotAuthorized": "access",
	"UnrecognizedClientException": "credentials", "InvalidClientTokenId": "credentials", "ExpiredToken": "credentials", "ExpiredTokenException": "credentials",
	"SignatureDoesNotMatch": "credentials", "InvalidSignatureException": "credentials", "IncompleteSignature": "credentials", "IncompleteSignatureException": "credentials",
	"MissingAuthenticationToken": "credentials", "MissingAuthenticationTokenException": "credentials", "OptInRequired": "credentials", "RequestExpired": "credentials",
	"AWS.SimpleQueueService.NonExistentQueue": "queue", "QueueDoesNotExist": "queue", "InvalidAddress": "queue",
	"KmsAccessDenied": "key", "KmsDisabled": "key", "KmsInvalidKeyUsage": "key", "KmsInvalidState": "key", "KmsNotFound": "key", "KmsOptInRequired": "key",
	"KMS.AccessDeniedException": "key", "KMS.DisabledException": "key", "KMS.InvalidKeyUsageException": "key", "KMS.InvalidStateException": "key", "KMS.NotFoundException": "key", "KMS.OptInRequired": "key",
	"InvalidSecurity": "protocol", "InvalidAction": "protocol", "UnknownOperationException": "protocol", "UnsupportedOperation": "protocol", "AWS.SimpleQueueService.UnsupportedOperation": "protocol",
}

func throttles(code string) bool {
	_, ok := retry.DefaultThrottleErrorCodes[code]
	return ok || code == "KmsThrottled" || code == "KMS.ThrottlingException" || code == "OverLimit"
}

// where is the queue as an error names it.
func (t *target) where() string {
	switch {
	case t.shown == "":
		return t.setting
	case t.setting == "":
		return t.shown
	default:
		return t.shown + " (" + t.setting + ")"
	}
}

func (t *target) operator(what, next string) *QueueError {
	return &QueueError{Cause: message.CauseConfiguration, text: t.where() + ": " + what + "; " + next}
}

// fault makes an error of a whole call one of ours. The call's name is an IAM
// action without its "sqs:".
func (t *target) fault(ctx context.Context, action string, err error) *QueueError {
	if ours, ok := errors.AsType[*QueueError](err); ok {
		return ours
	}
	e := &QueueError{Cause: message.CauseTransient}
	var what, next string
	if ended := ctx.Err(); ended != nil {
		// Asked of the context itself: the time-out of an attempt is a DeadlineExceeded too.
		e.err, what = ended, "stopped"
		if errors.Is(ended, context.DeadlineExceeded) {
			what = "no time left"
		}
	} else if refused, ok := errors.AsType[smithy.APIError](err); ok {
		what, next = t.refusal(e, action, refused, err)
	} else {
		what, next = t.network(e, err)
	}
	e.text = action + " on " + t.where() + ": " + what
	if next != "" {
		e.text += "; " + next
	}
	return e
}

// refusal describes an error that SQS answered with.
func (t *target) refusal(e *QueueError, action string, refused smithy.APIError, err error) (what, next string) {
	e.Code = known(refused.ErrorCode())
	kind := operatorCodes[refused.ErrorCode()]
	if _, ok := errors.AsType[*types.QueueDoesNotExist](err); ok {
		kind = "queue"
	}
	if kind != "" {
		e.Cause = message.CauseConfiguration
	}
	what = e.Code
	switch kind {
	case "access":
		if text := refused.ErrorMessage(); strings.Contains(text, "not authorized") {
			what += ": " + printable(text, 400) // names a role, an action and a queue
		}
		return what, "allow the role sqs:" + action + " on this queue, in its own policy or in the queue's"
	case "credentials":
		return "AWS refuses the credentials, " + what, "renew AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or AWS_PROFILE, and check this machine's clock"
	case "queue":
		return "there is no such queue at " + t.host, "check account, region and name in " + t.settingName() + t.endpointHint()
	case "key":
		return "the queue's KMS key cannot be used, " + what, "allow the role kms:GenerateDataKey and kms:Decrypt on it, and check that it is enabled"
	case "protocol":
		return "not answered as SQS does, " + what, "check that " + t.host + " is SQS" + t.endpointHint()
	}
	status := 0
	if answer, ok := errors.AsType[*smithyhttp.ResponseError](err); ok {
		status = answer.HTTPStatusCode()
	}
	switch {
	case throttles(refused.ErrorCode()):
		return "SQS throttles this queue, " + what, "it passes; send or receive less at once if it does not"
	case status == 429 || status >= 500 || refused.ErrorFault() == smithy.FaultServer:
		return fmt.Sprintf("SQS fails with HTTP %d, %s", status, what), ""
	case status == 403:
		e.Cause = message.CauseConfiguration
		return "refused with HTTP 403, " + what, "check the permissions and the credentials" + t.endpointHint()
	case refused.ErrorCode() == "UnknownError": // the SDK's word for an answer that is not in SQS's form
		return fmt.Sprintf("answered with HTTP %d, and not as SQS does", status), "check that " + t.host + " is SQS" + t.endpointHint()
	default:
		e.entries = true
		if action == sendMessage {
			e.Cause = message.CauseUnsent
		}
		return "refused, " + what, ""
	}
}

// network describes an error that is not an answer of SQS.
func (t *target) network(e *QueueError, err error) (what, next string) {
	var (
		missing  *credentialsError
		dns      *net.DNSError
		op       *net.OpError
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
		record   tls.RecordHeaderError
		timeout  net.Error
		answer   *smithyhttp.ResponseError
		unread   *smithy.DeserializationError
	)
	switch {
	case errors.As(err, &missing):
		e.Cause = message.CauseConfiguration
		return "no AWS credentials are found", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; an emulator takes any"
	case errors.As(err, &dns):
		return "the host " + dns.Name + " does not resolve", "check " + t.endpointName() + ", and that this network can resolve it"
	case errors.As(err, &unknown), errors.As(err, &hostname), errors.As(err, &invalid):
		e.Cause = message.CauseConfiguration
		return "the certificate of " + t.host + " is not trusted here", "name its root certificates in AWS_CA_BUNDLE, or check " + t.endpointName()
	case errors.As(err, &record), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		e.Cause = message.CauseConfiguration
		return t.host + " does not speak TLS", "write http:// in " + t.endpointName()
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Sprintf("no answer from %s within %v", t.host, t.client.timeout), "in a VPC, SQS needs a NAT gateway or an interface endpoint" + t.endpointHint()
	case errors.As(err, &op) && op.Op == "dial":
		return fmt.Sprintf("cannot connect to %s: %v", t.host, op.Err), "check " + t.endpointName() + ", and that the service runs and lets this network in"
	case errors.As(err, &answer) && answer.HTTPStatusCode() >= 500:
		return fmt.Sprintf("SQS fails with HTTP %d", answer.HTTPStatusCode()), ""
	case errors.As(err, &unread):
		status := ""
		if errors.As(err, &answer) {
			status = fmt.Sprintf(" (HTTP %d)", answer.HTTPStatusCode())
		}
		return "the answer of " + t.host + status + " is none of SQS", "check " + t.endpointName()
	case strings.Contains(err.Error(), "checksum"):
		return "the answer's checksum is wrong: a message was changed on its way", ""
	default:
		return "the connection to " + t.host + " broke", ""
	}
}

// entryFault makes an entry of a Failed list an error.
func (t *target) entryFault(action string, failed types.BatchResultErrorEntry) *QueueError {
	e := &QueueError{Cause: message.CauseTransient, Code: known(str(failed.Code))}
	switch {
	case throttles(str(failed.Code)) || !failed.SenderFault:
		e.again = true
	case action == sendMessage:
		e.Cause = message.CauseUnsent
	}
	e.text = action + " on " + t.where() + ": an entry is refused, " + e.Code
	return e
}

func (t *target) settingName() string {
	if t.setting == "" {
		return "the event source mapping"
	}
	return t.setting
}

func (t *target) endpointName() string {
	if t.endpoint == "" {
		return "the region"
	}
	return t.endpoint
}

// endpointHint is for errors that a forgotten AWS_ENDPOINT_URL makes.
func (t *target) endpointHint() string {
	if t.endpoint == "AWS_ENDPOINT_URL" {
		return " (AWS_ENDPOINT_URL is set)"
	}
	return ""
}

// known is a code fit to be shown: a server may put anything there.
func known(code string) string {
	if code == "" || len(code) > 80 || strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._") != "" {
		return "an unknown error"
	}
	return code
}

// printable is the text in one line, cut to so many bytes.
func printable(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, text)
	if len(text) > limit {
		text = strings.ToValidUTF8(text[:limit], "") + "…"
	}
	return text
}

func str(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
