package s3

import (
	"bytes"
	"os"
	"strings"

	"lazaret/internal/errs"
)

// Credentials are what requests are signed with. They print as stars.
type Credentials struct {
	AccessKey, Secret, Session string
}

// String keeps secrets out of whatever is printed.
func (Credentials) String() string { return "*****" }

// GoString does the same for %#v.
func (Credentials) GoString() string { return "*****" }

// Source gives the credentials of the moment. It is asked at the first request
// and again when the server says that they have expired.
type Source func() (Credentials, error)

const maxCredentials = 64 << 10

// File is a source that reads a file of the form of ~/.aws/credentials, profile
// default. Whoever renews short-lived credentials replaces the file.
func File(path string) Source {
	return func() (c Credentials, err error) {
		st, err := os.Stat(path)
		if err != nil {
			return c, errs.Wrap(errs.Invalid, err, "the credentials file %s cannot be read", path)
		}
		if !st.Mode().IsRegular() || st.Size() > maxCredentials {
			return c, errs.New(errs.Invalid, "the credentials file %s is not a file of at most 64 KiB", path)
		}
		if st.Mode().Perm()&0o077 != 0 {
			return c, errs.New(errs.Invalid, "the credentials file %s may be read by others: set its mode to 0600", path)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return c, errs.Wrap(errs.Invalid, err, "the credentials file %s cannot be read", path)
		}
		if c, err = parseCredentials(b); err != nil {
			return c, errs.Context(err, "the credentials file %s", path)
		}
		return c, nil
	}
}

// Environment is a source that asks for AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY
// and AWS_SESSION_TOKEN.
func Environment(get func(string) string) Source {
	return func() (Credentials, error) {
		c := Credentials{get("AWS_ACCESS_KEY_ID"), get("AWS_SECRET_ACCESS_KEY"), get("AWS_SESSION_TOKEN")}
		if c.AccessKey == "" || c.Secret == "" {
			return c, errs.New(errs.Invalid, "there are no S3 credentials: name a credentials_file, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
		}
		return c, nil
	}
}

// parseCredentials reads the profile default, or what stands before any profile.
func parseCredentials(b []byte) (c Credentials, err error) {
	ours := true
	line := 0
	for l := range bytes.Lines(b) {
		line++
		s := strings.TrimSpace(string(l))
		switch {
		case s == "" || s[0] == '#' || s[0] == ';':
			continue
		case s[0] == '[':
			ours = s == "[default]"
			continue
		case !ours:
			continue
		}
		name, value, ok := strings.Cut(s, "=")
		if !ok {
			return c, errs.New(errs.Invalid, "line %d is not NAME = VALUE", line) // the line may be a secret: it is not shown
		}
		value = strings.TrimSpace(value)
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "aws_access_key_id":
			c.AccessKey = value
		case "aws_secret_access_key":
			c.Secret = value
		case "aws_session_token":
			c.Session = value
		}
	}
	if c.AccessKey == "" || c.Secret == "" {
		return c, errs.New(errs.Invalid, "aws_access_key_id or aws_secret_access_key is missing in [default]")
	}
	return c, nil
}
