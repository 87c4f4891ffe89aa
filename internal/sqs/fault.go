package sqs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"

	"example.com/owner/sluice/internal/credentials"
	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/message"
)

// Missing reports whether an error means that there is no such queue, or that
// the configured URL cannot be one.
func Missing(err error) bool {
	e := fault.Of(err)
	return e != nil && e.Source == fault.Queue && e.Cause == message.CauseConfiguration && (e.Code == "" || refusals[e.Code] == noQueue)
}

// rank orders errors: of several, the one that somebody has to fix is shown.
func rank(e *fault.Error) int {
	switch e.Cause {
	case message.CauseConfiguration:
		return 3
	case message.CauseUnsent:
		return 1
	default:
		return 2
	}
}

// refusal is why SQS did not do what a call asked for.
type refusal uint8

const (
	notAnswered refusal = iota // the error does not come from SQS
	noAccess
	badCredentials
	noQueue
	noKey       // of KMS
	badProtocol // this is not SQS
	throttled
	serverFailed
	forbidden    // HTTP 403 with an unknown code
	malformed    // not in SQS's form
	entryRefused // one entry can make SQS refuse the call
)

// refusals are the codes that concern every entry and do not pass by
// themselves. Sources: "Common Error Types" of the SQS API Reference, and its
// Kms… errors.
var refusals = map[string]refusal{
	"AccessDenied": noAccess, "AccessDeniedException": noAccess, "NotAuthorized": noAccess,
	"UnrecognizedClientException": badCredentials, "InvalidClientTokenId": badCredentials,
	"ExpiredToken": badCredentials, "ExpiredTokenException": badCredentials,
	"SignatureDoesNotMatch": badCredentials, "InvalidSignatureException": badCredentials,
	"IncompleteSignature": badCredentials, "IncompleteSignatureException": badCredentials,
	"MissingAuthenticationToken": badCredentials, "MissingAuthenticationTokenException": badCredentials,
	"OptInRequired": badCredentials, "RequestExpired": badCredentials,
	"AWS.SimpleQueueService.NonExistentQueue": noQueue, "QueueDoesNotExist": noQueue, "InvalidAddress": noQueue,
	"KmsAccessDenied": noKey, "KmsDisabled": noKey, "KmsInvalidKeyUsage": noKey,
	"KmsInvalidState": noKey, "KmsNotFound": noKey, "KmsOptInRequired": noKey,
	"KMS.AccessDeniedException": noKey, "KMS.DisabledException": noKey, "KMS.InvalidKeyUsageException": noKey,
	"KMS.InvalidStateException": noKey, "KMS.NotFoundException": noKey, "KMS.OptInRequired": noKey,
	"InvalidSecurity": badProtocol, "InvalidAction": badProtocol, "UnknownOperationException": badProtocol,
	"UnsupportedOperation": badProtocol, "AWS.SimpleQueueService.UnsupportedOperation": badProtocol,
}

// refusalOf tells apart what SQS answered.
func refusalOf(err error) refusal {
	answer, ok := errors.AsType[smithy.APIError](err)
	if !ok {
		return notAnswered
	}
	code, status := credentials.Answer(err)
	if known, ok := refusals[code]; ok {
		return known
	}
	switch {
	case throttles(code):
		return throttled
	case status == 429 || status >= 500 || answer.ErrorFault() == smithy.FaultServer:
		return serverFailed
	case status == 403:
		return forbidden
	case code == "UnknownError": // the SDK's word for an answer that is not in SQS's form
		return malformed
	default:
		return entryRefused
	}
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

// misconfigured is an error of what is configured, found without a call.
func (t *target) misconfigured(what, remedy string) *fault.Error {
	return misconfigured(t.where()+": "+what, remedy)
}

func misconfigured(what, remedy string) *fault.Error {
	return &fault.Error{Source: fault.Queue, Cause: message.CauseConfiguration, What: what, Remedy: remedy}
}

// failure is an error of a call that SQS says nothing more about.
func (t *target) failure(cause message.Cause, action, what string) *fault.Error {
	return &fault.Error{Source: fault.Queue, Cause: cause, What: doing(action) + " " + t.where() + ": " + what}
}

// doing says in plain words what a call does with a queue.
func doing(action string) string {
	switch action {
	case "GetQueueAttributes":
		return "read the settings of the queue"
	case "ReceiveMessage":
		return "receive from the queue"
	case sendMessage:
		return "send to the queue"
	case deleteMessage:
		return "delete from the queue"
	case changeVisibility:
		return "hide or return messages of the queue"
	default:
		return action + " on"
	}
}

// fault describes why a whole call failed. The action is the call's name in
// IAM, without "sqs:".
func (t *target) fault(ctx context.Context, action string, err error) *fault.Error {
	if known := fault.Of(err); known != nil {
		return known
	}
	e := &fault.Error{Source: fault.Queue, Cause: message.CauseTransient}
	var what string
	if ended := ctx.Err(); ended != nil {
		// Asked of the context itself: the timeout of an attempt is a DeadlineExceeded too.
		e.Err, what = ended, fault.Stopped(ended)
	} else if r := refusalOf(err); r != notAnswered {
		e.Cause, what, e.Remedy = t.refused(r, action, err)
		e.Code, _ = credentials.Answer(err)
	} else {
		e.Cause, what, e.Remedy = t.unanswered(err)
	}
	e.What = doing(action) + " " + t.where() + ": " + what
	return e
}

// refused describes an answer of SQS. Of its text only that of a refused
// permission is shown, which names a role, an action and a queue.
func (t *target) refused(r refusal, action string, err error) (cause message.Cause, what, remedy string) {
	const transient, configuration = message.CauseTransient, message.CauseConfiguration
	code, status := credentials.Answer(err)
	checkHost := "check that " + t.host + " is SQS" + t.endpointHint()
	switch r {
	case noAccess:
		what = "access is denied, " + code
		if answer, ok := errors.AsType[smithy.APIError](err); ok && strings.Contains(answer.ErrorMessage(), "not authorized") {
			what += ": " + printable(answer.ErrorMessage(), 400)
		}
		return configuration, what, "allow the role sqs:" + action + " on this queue, in its own policy or in the queue's"
	case badCredentials:
		return configuration, "AWS refuses the credentials, " + code,
			"renew AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or AWS_PROFILE, and check this machine's clock"
	case noQueue:
		return configuration, "there is no such queue at " + t.host,
			"check account, region and name in " + cmp.Or(t.setting, "the event source mapping") + t.endpointHint()
	case noKey:
		return configuration, "the queue's KMS key cannot be used, " + code, "allow the role kms:GenerateDataKey and kms:Decrypt on it, and check that it is enabled"
	case badProtocol:
		return configuration, "not answered as SQS does, " + code, checkHost
	case forbidden:
		return configuration, "refused with HTTP 403, " + code, "check the permissions and the credentials" + t.endpointHint()
	case throttled:
		return transient, "SQS throttles this queue, " + code, "it passes; send or receive less at once if it does not"
	case serverFailed:
		return transient, fmt.Sprintf("SQS fails with HTTP %d, %s", status, code), ""
	case malformed:
		return transient, fmt.Sprintf("answered with HTTP %d, and not as SQS does", status), checkHost
	default:
		if action == sendMessage {
			return message.CauseUnsent, "refused, " + code, ""
		}
		return transient, "refused, " + code, ""
	}
}

// unanswered describes an error that is not an answer of SQS.
func (t *target) unanswered(err error) (cause message.Cause, what, remedy string) {
	if _, ok := errors.AsType[*credentialsError](err); ok {
		return message.CauseConfiguration, "no AWS credentials are found",
			"set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; an emulator takes any"
	}
	trouble := fault.Network(err)
	cause = credentials.NetworkCause(trouble)
	switch trouble.Kind {
	case fault.NoSuchHost, fault.Unresolved:
		return cause, "the host " + trouble.Host + " does not resolve", "check " + t.endpointName() + ", and that this network can resolve it"
	case fault.UnknownAuthority, fault.WrongHost, fault.InvalidCertificate, fault.Unverified:
		return cause, "the certificate of " + t.host + " is not trusted here", "name its root certificates in AWS_CA_BUNDLE, or check " + t.endpointName()
	case fault.NoTLS:
		return cause, t.host + " does not speak TLS", "write http:// in " + t.endpointName()
	case fault.Alert:
		return cause, fmt.Sprintf("%s ended the TLS handshake: %v", t.host, trouble.Detail), "check " + t.endpointName()
	case fault.Timeout:
		return cause, fmt.Sprintf("no answer from %s within %v", t.host, t.client.timeout),
			"in a VPC, SQS needs a NAT gateway or an interface endpoint" + t.endpointHint()
	case fault.Refused:
		return cause, fmt.Sprintf("cannot connect to %s: %v", t.host, trouble.Detail),
			"check " + t.endpointName() + ", and that the service runs and lets this network in"
	default:
		what, remedy = t.garbled(err)
		return cause, what, remedy
	}
}

// garbled describes an answer that the SDK could not read.
func (t *target) garbled(err error) (what, remedy string) {
	_, status := credentials.Answer(err)
	if status >= 500 {
		return fmt.Sprintf("SQS fails with HTTP %d", status), ""
	}
	if _, ok := errors.AsType[*smithy.DeserializationError](err); ok {
		what = "the answer of " + t.host
		if status != 0 {
			what += fmt.Sprintf(" (HTTP %d)", status)
		}
		return what + " is not a response from SQS", "check " + t.endpointName()
	}
	if strings.Contains(err.Error(), "checksum") {
		return "the answer's checksum is wrong: a message was changed on its way", ""
	}
	return "the connection to " + t.host + " broke", ""
}

// entryFault describes an entry of a Failed list, and reports whether another
// try may do.
func (t *target) entryFault(action string, failed types.BatchResultErrorEntry) (e *fault.Error, again bool) {
	code := credentials.ShownCode(aws.ToString(failed.Code))
	e = t.failure(message.CauseTransient, action, "an entry is refused, "+code)
	e.Code = code
	if again = throttles(code) || !failed.SenderFault; !again && action == sendMessage {
		e.Cause = message.CauseUnsent
	}
	return e, again
}

func (t *target) endpointName() string { return cmp.Or(t.endpoint, "the region") }

// endpointHint is for errors that a forgotten AWS_ENDPOINT_URL causes.
func (t *target) endpointHint() string {
	if t.endpoint == "AWS_ENDPOINT_URL" {
		return " (AWS_ENDPOINT_URL is set)"
	}
	return ""
}

// printable returns a text as one line, cut to limit bytes.
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
