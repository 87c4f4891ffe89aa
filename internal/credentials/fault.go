package credentials

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"

	"sluice/internal/fault"
	"sluice/internal/message"
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

// badConfig is a configuration that the SDK does not load. Its error names
// variables, profiles and files.
func badConfig(err error) *fault.Error {
	return misconfigured("the AWS SDK cannot be set up: "+err.Error(), "check AWS_PROFILE and the other AWS_ variables")
}

// noCredentials is why there is nothing to sign a request with.
func noCredentials(ctx context.Context, err error) *fault.Error {
	e := misconfigured("no AWS credentials", "give the function a role, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE")
	if err == nil {
		return e
	}
	why := explain(ctx, err)
	if why.ended == nil && why.code == "" && why.status == 0 {
		// Nobody answered, as where there is no role: the configuration's fault,
		// although a connection failed.
		return e
	}
	e.Cause, e.Code, e.Err = why.cause, why.code, why.ended
	if e.What += ": " + why.what; e.Cause != message.CauseConfiguration {
		e.Remedy = ""
	}
	return e
}

// unread is a secret that could not be fetched.
func (s *secret) unread(ctx context.Context, region string, err error) *fault.Error {
	why := explain(ctx, err)
	e := &fault.Error{
		Source: fault.Credentials, Cause: why.cause, Code: why.code, Err: why.ended,
		What: s.String() + " was not read: " + why.what,
	}
	if e.Err == nil {
		e.Remedy = s.remedy(region, why)
	}
	return e
}

// failure is what an error of the SDK means.
type failure struct {
	what  string
	cause message.Cause
	// code and status are AWS's answer, "" and 0 without one.
	code   string
	status int
	kind   fault.Kind // of the network's error, where AWS has not answered
	// ended is the error of the caller's context, if that ended the call.
	ended error
}

// explain tells apart errors of the SDK. It never shows an error's own text,
// which can quote the answer.
func explain(ctx context.Context, err error) failure {
	f := failure{cause: message.CauseTransient, ended: callerErr(ctx)}
	f.code, f.status = Answer(err)
	switch {
	case f.ended != nil:
		f.what = fault.Stopped(f.ended)
	case f.code != "" || f.status != 0:
		if f.what = f.code; f.code == "" {
			f.what = fmt.Sprintf("an answer that is not from AWS (HTTP status %d)", f.status)
		}
		if id := requestID(err); id != "" {
			f.what += " (request " + id + ")"
		}
		if f.status >= 400 && !passes(f.code, f.status) {
			f.cause = message.CauseConfiguration
		}
	default:
		trouble := fault.Network(err)
		f.what, f.cause, f.kind = unanswered(trouble), trouble.Cause(), trouble.Kind
	}
	return f
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
func (s *secret) remedy(region string, why failure) string {
	switch why.code {
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
	misconfigured := why.cause == message.CauseConfiguration
	signing := why.status == http.StatusUnauthorized || why.status == http.StatusForbidden ||
		strings.Contains(why.code, "Token") || strings.Contains(why.code, "Signature")
	switch {
	case why.code != "" && misconfigured && signing:
		return "AWS does not accept the credentials of this process: check AWS_ACCESS_KEY_ID and the related variables, and this machine's clock"
	case why.code != "":
		return ""
	case why.status != 0:
		return "check AWS_ENDPOINT_URL and HTTPS_PROXY if they are set"
	case why.kind == fault.NoSuchHost:
		return "check AWS_ENDPOINT_URL and AWS_REGION, and that this network can resolve the name"
	case misconfigured:
		return "check AWS_ENDPOINT_URL; AWS_CA_BUNDLE=<file> names your own root certificates"
	default:
		return "a function in a VPC needs a VPC endpoint for secretsmanager in " + region + ", or a NAT gateway"
	}
}
