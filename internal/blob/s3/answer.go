package s3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"lazaret/internal/errs"
)

// Error is what a server said, or that it said nothing.
type Error struct {
	Status int    // of HTTP; 0: there was no answer
	Code   string // of S3, such as SlowDown; empty: the answer was not one of S3
	cause  error
}

// Error gives the answer in short.
func (e *Error) Error() string {
	switch {
	case e.Status == 0:
		return errs.Network(e.cause).Error()
	case e.Code == "":
		return fmt.Sprintf("status %d and no word of S3", e.Status)
	}
	return fmt.Sprintf("%s (status %d)", e.Code, e.Status)
}

// Unwrap gives the network's error.
func (e *Error) Unwrap() error { return e.cause }

const maxErrorBody = 64 << 10

// answered reads an answer that is no success. The message in it is not kept:
// some servers put the signed request there, and Code says it all.
func answered(r *http.Response) *Error {
	e := &Error{Status: r.StatusCode}
	var body struct {
		XMLName xml.Name `xml:"Error"`
		Code    string
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, maxErrorBody))
	if err == nil && xml.Unmarshal(b, &body) == nil {
		e.Code = word(body.Code)
	}
	return e
}

// word keeps the letters and digits of a code, which is all that codes have.
func word(s string) string {
	s = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, s)
	return s[:min(len(s), 60)]
}

// again reports whether the same request may well succeed soon.
func (e *Error) again() bool {
	var bad *tls.CertificateVerificationError
	switch e.Code {
	case "SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout", "OperationAborted", "Busy",
		"BadDigest", "XAmzContentSHA256Mismatch", "IncompleteBody": // spoiled on the way
		return true
	}
	return e.Status == 0 && !errors.As(e.cause, &bad) || e.Status >= 500 && e.Status != http.StatusNotImplemented ||
		e.Status == http.StatusTooManyRequests || e.Status == http.StatusRequestTimeout || e.Status/100 == 2
}

// expired reports whether other credentials would help.
func (e *Error) expired() bool { return e.Code == "ExpiredToken" || e.Code == "TokenRefreshRequired" }

// Settled reports whether err is a refusal that stands until somebody changes
// something: a missing bucket, a right, a key, a clock, a certificate.
func Settled(err error) bool {
	var e *Error
	return errors.As(err, &e) && !e.again() && !errors.Is(err, context.Canceled)
}

// sentence says what is wrong and what helps.
func (c *Client) sentence(e *Error) string {
	var verify *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	where := c.Where()
	switch {
	case errors.As(e.cause, &verify) && errors.As(e.cause, &unknown):
		return "the certificate of " + c.opt.Endpoint + " is not signed by an authority that is known here: name its ca_file"
	case errors.As(e.cause, &verify):
		return "the certificate of " + c.opt.Endpoint + " does not hold"
	case e.Code == "NoSuchBucket":
		return "there is no " + where + ": make it, or correct its name"
	case e.Code == "AccessDenied" || e.Code == "AllAccessDisabled":
		return "access to " + where + " is denied: these credentials need the rights to list it and to get, put and delete its objects"
	case e.Code == "InvalidAccessKeyId":
		return "the access key is unknown at " + c.opt.Endpoint
	case e.Code == "SignatureDoesNotMatch":
		return "the secret key does not fit the access key at " + c.opt.Endpoint
	case e.expired() || e.Code == "InvalidToken":
		return "the credentials for " + where + " have expired"
	case e.Code == "RequestTimeTooSkewed" || e.Code == "RequestExpired":
		return "the clock here and that of " + c.opt.Endpoint + " differ by more than 15 minutes: set this machine's clock"
	case e.Status == http.StatusMovedPermanently || e.Status == http.StatusTemporaryRedirect ||
		e.Code == "AuthorizationHeaderMalformed" || e.Code == "InvalidRegion":
		return where + " is in another region or at another address than the one configured"
	case e.Code == "SlowDown" || e.Status == http.StatusTooManyRequests:
		return where + " asks to slow down"
	case e.Code == "" && e.Status == http.StatusForbidden:
		return "access to " + where + " is denied"
	}
	return where + " does not work"
}

// wrap gives an answer its kind: everything but a missing object may be
// otherwise later, so it is temporary and mail waits (P3).
func (c *Client) wrap(e *Error) error {
	if e.Status == http.StatusNotFound && e.Code == "NoSuchKey" {
		return errs.Wrap(errs.NotFound, e, "the object is not there")
	}
	return errs.Wrap(errs.Temporary, e, "%s", c.sentence(e))
}
