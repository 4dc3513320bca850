package pipeline_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"lazaret/internal/filter"
	"lazaret/internal/logs"
	"lazaret/internal/pipeline"
	"lazaret/internal/unpack/filetype"
)

// parts makes a message of parts, each a header and a body.
func parts(list ...string) string {
	var b strings.Builder
	b.WriteString("From: a@b.example\r\nTo: bob@example.com\r\nSubject: hello\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n")
	for _, p := range list {
		b.WriteString("--b\r\n" + p + "\r\n")
	}
	b.WriteString("--b--\r\n")
	return b.String()
}

// The rules about attachments, on real messages: what a file is tells its
// bytes, whatever its name and type say.
func TestAttachmentRules(t *testing.T) {
	text := "Content-Type: text/plain\r\n\r\nthe letter itself"
	program := "Content-Type: image/gif; name=a.gif\r\nContent-Transfer-Encoding: base64\r\n\r\n" +
		base64.StdEncoding.EncodeToString([]byte("MZ"+strings.Repeat("\x00", 100)+"secret code"))
	note := "Content-Type: text/plain\r\nContent-Disposition: attachment; filename=note.txt\r\n\r\nnote: secret code"
	msg := "Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nsecret code inside"
	for cond, c := range map[string]struct {
		content string
		want    bool
	}{
		`attachment-filetype == "^executable$"`:                   {parts(text, program), true},
		`attachment-filetype == "^exe$" and valid`:                {parts(text, program), true},
		`attachment-filetype == "^text$"`:                         {parts(text, program), false}, // the letter is no attachment
		`attachment-type == "^image/gif$"`:                        {parts(text, program), true},
		`attachment-size == 113`:                                  {parts(text, program), true},
		`attachment-size > 113`:                                   {parts(text, program), false},
		`attachment-contains("secret")`:                           {parts(text, program), false}, // no text
		`attachment-contains("code")`:                             {parts(text, program, note), true},
		`attachment-binary-contains("secret")`:                    {parts(text, program), true},
		`attachment-contains("the letter")`:                       {parts(text, note), false},
		`only-body-contains("the letter")`:                        {parts(text, note), true},
		`only-body-contains("secret")`:                            {parts(text, note, msg), false},
		`attachment-contains("secret code inside")`:               {parts(text, msg), true},
		`every-attachment-contains("secret")`:                     {parts(text, note, msg), true},
		`every-attachment-contains("secret code$")`:               {parts(text, note, program), false},
		`every-attachment-contains("note")`:                       {parts(text, note, msg), false},
		`every-attachment-contains("letter")`:                     {parts(text), false},
		`body-contains("secret code", 2)`:                         {parts(text, note, msg), true},
		`body-contains("*credit") and not body-contains("*iban")`: {parts("Content-Type: text/html\r\n\r\n4111 <b>1111</b> 1111 1111"), true},
		`signed or encrypted`:                                     {parts(text), false},
		`signed`:                                                  {"Content-Type: application/pkcs7-mime; smime-type=signed-data\r\n\r\nx\r\n", true},
		`signed and not encrypted`:                                {"Content-Type: multipart/signed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n", true},
		`encrypted`:                                               {"Content-Type: multipart/encrypted; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n", true},
		`encrypted and not signed`:                                {"Content-Type: application/pkcs7-mime; name=smime.p7m\r\n\r\nx\r\n", true},
		`valid and not signed`:                                    {parts(text), true},
		`valid or true and valid`:                                 {strings.TrimSuffix(parts(text), "--b--\r\n"), false},
		`workqueue-count == 7 and recv-listener == "^$"`:          {parts(text), true},
		`attachment-filetype == "zip" or rcpt-count == 100`:       {parts(text), false},
	} {
		set, err := filter.Parse("a: if (" + cond + ") { drop(); }")
		if err != nil {
			t.Errorf("%s: %v", cond, err)
			continue
		}
		b := &bench{}
		b.Pipeline = pipeline.New(pipeline.Options{Log: logs.Discard(), WorkQueue: func() int { return 7 }, Kind: func(head []byte) []string {
			f := filetype.Sniff(head)
			return []string{f.Name, string(f.Group)}
		}})
		b.Set(pipeline.Settings{Filters: set})
		d, err := first(b.Judge(t.Context(), b.input(c.content)))
		if err != nil || d.Drop != c.want {
			t.Errorf("%s: %v %v", cond, d.Drop, err)
		}
	}
}
