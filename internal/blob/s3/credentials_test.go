package s3

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lazaret/internal/errs"
)

// A credentials file is read as other programs read it; what is wrong is said
// without showing a line of it; and credentials print as stars.
func TestCredentialsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "credentials")
	for text, want := range map[string]string{
		"[default]\naws_access_key_id = A\naws_secret_access_key=S+/=\n":                                                                               "A S+/= ",
		"# x\n[other]\naws_access_key_id=no\nnonsense\n[default]\r\nAWS_ACCESS_KEY_ID=A\r\naws_secret_access_key = S\r\naws_session_token=T\nregion=x": "A S T",
		"aws_access_key_id=A\naws_secret_access_key=S":                                                                                                 "A S ",
		"[default]\naws_access_key_id=A":                                                                                                               "is missing in [default]",
		"":                                                                                                                                             "is missing in [default]",
		"[default]\nverysecret":                                                                                                                        "line 2 is not NAME = VALUE",
		strings.Repeat("x", maxCredentials+1):                                                                                                          "of at most 64 KiB",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := File(path)()
		got := c.AccessKey + " " + c.Secret + " " + c.Session
		if err != nil {
			got = err.Error()
			if !errs.Is(err, errs.Invalid) || strings.Contains(got, "verysecret") {
				t.Errorf("%v", err)
			}
		}
		if !strings.Contains(got, want) {
			t.Errorf("%.80q: %q, not %q", text, got, want)
		}
		for _, verb := range []string{"%v", "%+v", "%s", "%#v", "%q"} {
			if out := fmt.Sprintf(verb, c); strings.Contains(out, "S") {
				t.Errorf("%s prints %s", verb, out)
			}
		}
	}
	if err := errors.Join(os.WriteFile(path, []byte("aws_access_key_id=A\naws_secret_access_key=S"), 0o600), os.Chmod(path, 0o640)); err != nil {
		t.Fatal(err)
	}
	if _, err := File(path)(); err == nil || !strings.Contains(err.Error(), "set its mode to 0600") {
		t.Errorf("%v", err)
	}
}

func TestEndpoint(t *testing.T) {
	for s, ok := range map[string]bool{
		"https://s3.example.com": true, "http://127.0.0.1:9000": true, "https://[::1]:9000/": true,
		"s3.example.com": false, "ftp://x": false, "https://": false, "https://a/b": false, "https://u:p@a": false, "https://a?x=1": false, "https://a#b": false, "": false,
	} {
		if _, err := ParseEndpoint(s); (err == nil) != ok {
			t.Errorf("%q: %v", s, err)
		}
	}
}
