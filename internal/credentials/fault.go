package credentials

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"

	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/message"
)

func misconfigured(what, remedy string) *fault.Error {
	return &fault.Error{Source: fault.Credentials, Cause: message.CauseConfiguration, What: what, Remedy: remedy}
}

func isMisconfigured(err error) bool {
	e := fault.Of(err)
	return e != nil && e.Cause == message.CauseConfiguration
}

func noRegion(setting string) *fault.Error {
	return misconfigured(setting+" needs a region", "set AWS_REGION (Lambda does)")
}

// unusable is a secret whose text is not what it should be. The error must hold
// nothing of the text.
func (s *secret) unusable(err error) *fault.Error {
	e := misconfigured(err.Error(), "")
	if known := fault.Of(err); known != nil {
		e.What, e.Remedy = known.What, known.Remedy
	}
	e.What = s.String() + " cannot be used: " + e.What
	return e
}

// noCredentials is why there is nothing to sign a request with.
func noCredentials(ctx context.Context, err error) *fault.Error {
	none := misconfigured("no AWS credentials", "give the function a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE")
	e, status, _ := explain(ctx, err)
	if err == nil || e.Err == nil && e.Code == "" && status == 0 {
		// Nobody answered, as where there is no role: the configuration's fault,
		// although a connection failed.
		return none
	}
	if e.What = none.What + ": " + e.What; e.Cause == message.CauseConfiguration {
		e.Remedy = none.Remedy
	}
	return e
}

// unread is a secret that could not be fetched.
func (s *secret) unread(ctx context.Context, region string, err error) *fault.Error {
	e, status, kind := explain(ctx, err)
	e.What = s.String() + " was not read: " + e.What
	if e.Err == nil {
		e.Remedy = s.remedy(region, e, status, kind)
	}
	return e
}

// explain tells apart errors of the SDK, without a remedy. It never shows an
// error's own text, which can quote the answer. The status is AWS's, 0 without an
// answer, and the kind is that of a network's error then.
func explain(ctx context.Context, err error) (e *fault.Error, status int, kind fault.Kind) {
	e = &fault.Error{Source: fault.Credentials, Cause: message.CauseTransient, Err: callerErr(ctx)}
	e.Code, status = Answer(err)
	switch {
	case e.Err != nil:
		e.What = fault.Stopped(e.Err)
	case e.Code != "" || status != 0:
		if e.What = e.Code; e.Code == "" {
			e.What = fmt.Sprintf("an answer that is not from AWS (HTTP status %d)", status)
		}
		if id := requestID(err); id != "" {
			e.What += " (request " + id + ")"
		}
		if status >= 400 && !passes(e.Code, status) {
			e.Cause = message.CauseConfiguration
		}
	default:
		trouble := fault.Network(err)
		e.What, e.Cause, kind = unanswered(trouble), NetworkCause(trouble), trouble.Kind
	}
	return e, status, kind
}

// unanswered describes a call that AWS has not answered.
func unanswered(t fault.Trouble) string {
	switch t.Kind {
	case fault.NoSuchHost, fault.Unresolved:
		return "the host " + t.Host + " does not resolve"
	case fault.UnknownAuthority:
		return "the certificate at the other end is signed by an authority that is not trusted here"
	case fault.WrongHost, fault.InvalidCertificate, fault.Unverified, fault.NoTLS, fault.Alert:
		return "the other end is not AWS, or its certificate is not valid"
	case fault.Timeout:
		return "no answer in time"
	default:
		switch {
		case t.Addr != nil:
			return fmt.Sprintf("no connection to %s: %v", t.Addr, t.Detail)
		case t.Detail != nil:
			return fmt.Sprintf("no connection: %v", t.Detail)
		}
		return "the request failed"
	}
}

func requestID(err error) string {
	if response, ok := errors.AsType[*awshttp.ResponseError](err); ok && isWord(response.ServiceRequestID()) {
		return response.ServiceRequestID()
	}
	return ""
}

// passes reports whether an answer of AWS is transient: throttling, and what is
// broken at its end. All else must be fixed.
func passes(code string, status int) bool {
	_, throttled := retry.DefaultThrottleErrorCodes[code]
	_, again := retry.DefaultRetryableErrorCodes[code]
	return throttled || again || status >= 500 || status == http.StatusTooManyRequests || code == "InternalServiceError"
}

// remedy says what to do about a secret that was not read.
func (s *secret) remedy(region string, e *fault.Error, status int, kind fault.Kind) string {
	switch e.Code {
	case "AccessDeniedException", "AccessDenied":
		return fmt.Sprintf("allow secretsmanager:GetSecretValue on %s for the function's role, and kms:Decrypt on its key if that is your own", s.id)
	case "ResourceNotFoundException":
		return fmt.Sprintf("there is no secret %s with a value in %s: check %s", s.id, region, s.setting)
	case "DecryptionFailure":
		return "its KMS key cannot decrypt it: check that the key is enabled, and allow kms:Decrypt on it for the function's role"
	case "InvalidRequestException":
		return "it may be marked for deletion: restore it, or name another one in " + s.setting
	case "InvalidParameterException", "ValidationException":
		return "check " + s.setting
	}
	misconfigured := e.Cause == message.CauseConfiguration
	signing := status == http.StatusUnauthorized || status == http.StatusForbidden ||
		strings.Contains(e.Code, "Token") || strings.Contains(e.Code, "Signature")
	switch {
	case e.Code != "" && misconfigured && signing:
		return "AWS does not accept the credentials of this process: check AWS_ACCESS_KEY_ID and the related variables, and this machine's clock"
	case e.Code != "":
		return ""
	case status != 0:
		return "check AWS_ENDPOINT_URL and HTTPS_PROXY if they are set"
	case kind == fault.NoSuchHost:
		return "check AWS_ENDPOINT_URL and AWS_REGION, and that this network can resolve the name"
	case misconfigured:
		return "check AWS_ENDPOINT_URL; AWS_CA_BUNDLE=<file> names your own root certificates"
	default:
		return "a function in a VPC needs a VPC endpoint for secretsmanager in " + region + ", or a NAT gateway"
	}
}
