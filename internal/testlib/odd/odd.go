// Package odd is a collection of messages that hide a file from readers: the ways
// of stack.md 3.2 and register C1, and what else two readers may understand
// differently. In each stands one file, evil.exe, under a name and in base64 as
// File; a test may put another in its place.
package odd

import "strings"

// File is the file in base64, as it stands in the messages.
const File = "TVqQAAMAAAAEAAAA"

// Message is one of the collection.
type Message struct {
	Name string // the way in which it hides the file
	Raw  string
	Find string // the finding of package message that has to be made; "" when the message is in order, Any when one may be made
}

// Any is a message of which nothing is asked but that its file is seen, or that
// it is held.
const Any = "*"

// Nobody is a message in which no reader that we know sees a file: nothing is
// asked but that its text is looked at.
const Nobody = "-"

// Attach gives a message with one part whose header is as given.
func Attach(head, boundary, part string) string {
	return "From: a@b\r\nMIME-Version: 1.0\r\n" + head + "\r\n\r\npreamble\r\n--" + boundary + "\r\n" + part + "\r\n\r\n" + File + "\r\n--" + boundary + "--\r\n"
}

// The head of a message of parts, and of a part that is the file.
const (
	Mixed = "Content-Type: multipart/mixed; boundary=bb"
	Evil  = "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=evil.exe"
)

// Messages gives the collection.
func Messages() []Message { return append(classic(), more()...) }

func classic() []Message {
	return []Message{
		{"plain", Attach(Mixed, "bb", Evil), ""},
		{"unfolded continuation line in part header", Attach(Mixed, "bb", strings.Replace(Evil, "; filename", ";\r\nfilename", 1)), "unfolded-continuation"},
		{"garbage line in top header", Attach("this is no field\r\n"+Mixed, "bb", Evil), "garbage-in-header"},
		{"garbage line behind Content-Type", Attach(Mixed+"\r\ngarbage", "bb", Evil), "unfolded-continuation"},
		{"nonsense Content-Type on the part", Attach(Mixed, "bb", strings.Replace(Evil, "application/octet-stream", "nonsense;;=\"", 1)), "malformed-content-type"},
		{"boundary parameter twice, last counts", Attach(Mixed[:len(Mixed)-2]+"aa; boundary=bb", "bb", Evil), "boundary-ambiguous"},
		{"boundary parameter twice, first counts", Attach(Mixed+"; boundary=aa", "bb", Evil), "boundary-ambiguous"},
		{"two Content-Types, text/plain first", Attach("Content-Type: text/plain\r\n"+Mixed, "bb", Evil), "duplicate-content-type"},
		{"two Content-Types, text/plain last", Attach(Mixed+"\r\nContent-Type: text/plain", "bb", Evil), "duplicate-content-type"},
		{"NUL in Content-Disposition", Attach(Mixed, "bb", strings.Replace(Evil, "filename", "file\x00name", 1)), "nul-in-header"},
		{"NUL behind the name", Attach(Mixed, "bb", strings.Replace(Evil, "evil.exe", "\"evil.exe\x00.txt\"", 1)), "nul-in-header"},
		{"space before colon", Attach(Mixed, "bb", strings.ReplaceAll(Evil, ":", " :")), "space-before-colon"},
		{"comment in the field name", Attach(Mixed, "bb", strings.Replace(Evil, "Disposition:", "Disposition (x):", 1)), "comment-in-header-name"},
		{"unquoted name with space", Attach(Mixed, "bb", strings.Replace(Evil, "evil.exe", "a b evil.exe", 1)), "name-ambiguous"},
		{"comment after boundary", Attach(Mixed+" (comment)", "bb", Evil), "boundary-ambiguous"},
		{"comment before boundary", Attach("Content-Type: multipart/mixed; (x) boundary (y)= bb", "bb", Evil), ""},
		{"missing semicolon before boundary", Attach("Content-Type: multipart/Mixed boundary=bb", "bb", Evil), "malformed-parameter"},
		{"no boundary parameter", Attach("Content-Type: multipart/mixed", "bb", Evil), "boundary-missing"},
		{"no closing boundary", strings.TrimSuffix(Attach(Mixed, "bb", Evil), "--bb--\r\n"), "boundary-unclosed"},
		{"bare LF", strings.ReplaceAll(Attach(Mixed, "bb", Evil), "\r\n", "\n"), ""},
		{"bare CR in the header", Attach(Mixed, "bb", strings.Replace(Evil, "\r\nContent-D", "\rContent-D", 1)), "bare-cr-in-header"},
		{"RFC 2231 pieces", Attach(Mixed, "bb", strings.Replace(Evil, "filename=evil.exe", "filename*0*=utf-8''ev%69;\r\n\tfilename*1=l.e; filename*2*=%78e", 1)), ""},
		{"RFC 2231 beside a plain name", Attach(Mixed, "bb", strings.Replace(Evil, "filename=evil.exe", "filename=good.txt; filename*=utf-8''evil.exe", 1)), "name-ambiguous"},
		{"plain beside RFC 2231", Attach(Mixed, "bb", strings.Replace(Evil, "filename=", "filename*=utf-8''good.txt; filename=", 1)), "name-ambiguous"},
		{"RFC 2231 with a gap", Attach(Mixed, "bb", strings.Replace(Evil, "filename=evil.exe", "filename*0=ev; filename*2=il.exe", 1)), "name-ambiguous"},
		{"RFC 2047 in the parameter", Attach(Mixed, "bb", strings.Replace(Evil, "evil.exe", `"=?utf-8?B?ZXZpbC5leGU=?="`, 1)), "encoded-word-in-name"},
		{"name in Content-Type only", Attach(Mixed, "bb", "Content-Type: text/plain; name=evil.exe\r\nContent-Transfer-Encoding: base64"), ""},
		{"two names", Attach(Mixed, "bb", strings.Replace(Evil, "octet-stream", "octet-stream; name=good.txt", 1)), "name-ambiguous"},
		{"two Content-Dispositions", Attach(Mixed, "bb", "Content-Disposition: inline; filename=good.txt\r\n"+Evil), "duplicate-content-disposition"},
		{"text behind the quoted name", Attach(Mixed, "bb", strings.Replace(Evil, "evil.exe", `"evil".exe`, 1)), "malformed-parameter"},
		{"quote never closed", Attach(Mixed, "bb", strings.Replace(Evil, "evil.exe", `"evil.exe`, 1)), "malformed-parameter"},
		{"final dot", Attach(Mixed, "bb", strings.Replace(Evil, "evil.exe", "evil.exe.", 1)), ""},
		{"unknown encoding", Attach(Mixed, "bb", strings.Replace(Evil, "base64", "x-nonsense", 1)), "unknown-encoding"},
		{"two encodings", Attach(Mixed, "bb", "Content-Transfer-Encoding: 7bit\r\n"+Evil), "duplicate-content-transfer-encoding"},
		{"base64 on multipart, ignored by some", Attach(Mixed+"\r\nContent-Transfer-Encoding: base64", "bb", Evil), "encoded-container"},
		{"multipart in base64, decoded by some", "Content-Type: multipart/mixed; boundary=bb\r\nContent-Transfer-Encoding: base64\r\n\r\n" + Base64("--bb\r\n"+Evil+"\r\n\r\n"+File+"\r\n--bb--\r\n"), "encoded-container"},
		{"part behind the closing delimiter", Attach(Mixed, "bb", "Content-Type: text/plain") + "--bb\r\n" + Evil + "\r\n\r\n" + File + "\r\n", "part-after-close"},
		{"no blank line in front of the first delimiter", strings.Replace(Attach(Mixed, "bb", Evil), "\r\n\r\npreamble", "", 1), "missing-blank-line"},
		{"header ends at a delimiter", Attach(Mixed, "bb", "Content-Type: text/plain\r\n--bb\r\n"+Evil), "header-cut-by-boundary"},
		{"blank continuation line", Attach(Mixed, "bb", strings.Replace(Evil, "\r\nContent-D", "\r\n \t\r\nContent-D", 1)), "blank-continuation"},
		{"continuation first", Attach(Mixed, "bb", " folded\r\n"+Evil), "continuation-before-first-header"},
		{"attached message", Attach(Mixed, "bb", "Content-Type: message/rfc822\r\n\r\n"+strings.TrimSuffix(Attach(Mixed[:len(Mixed)-2]+"cc", "cc", Evil), "\r\n")), "text-after-close"},
		{"attached message in base64", Attach(Mixed, "bb", "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n"+Base64(Evil+"\r\n\r\n"+File)), "encoded-container"},
		{"part of a digest", Attach("Content-Type: multipart/digest; boundary=bb", "bb", "\r\n"+Evil), ""},
		{"boundary in another field", Attach("Content-Type: multipart/mixed\r\nContent-Disposition: inline; boundary=bb", "bb", Evil), "boundary-misplaced"},
		{"boundary in pieces", Attach("Content-Type: multipart/mixed; boundary*0=b; boundary*1=b", "bb", Evil), ""},
		{"boundary encoded and plain", Attach("Content-Type: multipart/mixed; boundary=aa; boundary*=us-ascii''bb", "bb", Evil), "boundary-ambiguous"},
		{"boundary too long", Attach("Content-Type: multipart/mixed; boundary="+strings.Repeat("b", 90), strings.Repeat("b", 90), Evil), "boundary-malformed"},
		{"boundary with odd characters", Attach("Content-Type: multipart/mixed; boundary=\"b{}b\"", "b{}b", Evil), "boundary-malformed"},
		{"no MIME-Version", strings.Replace(Attach(Mixed, "bb", Evil), "MIME-Version: 1.0\r\n", "", 1), "mime-version"},
		{"another MIME-Version", strings.Replace(Attach(Mixed, "bb", Evil), "MIME-Version: 1.0", "MIME-Version: 2.0", 1), "mime-version"},
		{"two From", "From: x@y\r\n" + Attach(Mixed, "bb", Evil), "duplicate-field"},
		{"text behind the close", Attach(Mixed, "bb", Evil) + "more", "text-after-close"},
		{"one boundary begins another", Attach(Mixed, "bb", "Content-Type: multipart/mixed; boundary=bbb\r\n\r\n--bbb\r\n"+Evil+"\r\n\r\n"+File+"\r\n--bbb--"), "boundary-prefix"},
		{"encoded word as Content-Type", Attach(Mixed, "bb", "Content-Type: =?utf-8?q?text/plain?=; name=evil.exe"), "malformed-content-type"},
		{"other characters in base64", strings.Replace(Attach(Mixed, "bb", Evil), File, "TVqQ!AAM*AAAAEAAAA", 1), "garbage-in-base64"},
		{"escapes that are none", Attach(Mixed, "bb", "Content-Transfer-Encoding: quoted-printable\r\nContent-Type: text/plain; name=evil.exe\r\n\r\na==4D"), "garbage-in-quoted-printable"},
		{"piece of a name twice", Attach(Mixed, "bb", strings.Replace(Evil, "filename=evil.exe", "filename*0=evil; filename*1=.txt; filename*1=.exe", 1)), "name-ambiguous"},
		{"base64 behind its end", strings.Replace(Attach(Mixed, "bb", Evil), File, "QQ==TVqQ", 1), "trailing-data-in-base64"},
		{"piece of a larger message", Attach(Mixed, "bb", "Content-Type: message/partial; number=1; total=2; id=x; name=evil.exe"), "partial-message"},
		{"content elsewhere", Attach(Mixed, "bb", "Content-Type: message/external-body; access-type=URL; URL=\"http://x/\"; name=evil.exe"), "external-body"},
		{"two charsets", Attach(Mixed, "bb", "Content-Type: text/plain; charset=utf-7; charset=us-ascii; name=evil.exe"), "duplicate-parameter"},
		{"unknown charset", Attach(Mixed, "bb", "Content-Type: text/plain; charset=x-nonsense; name=evil.exe"), "unknown-charset"},
		{"boundary that never comes", Attach(Mixed, "bb", Evil+"\r\n\r\n"+File+"\r\n--bb\r\nContent-Type: multipart/mixed; boundary=cc"), "boundary-not-found"},
		{"base64 between begin and end", "Subject: x\r\n\r\nhello\r\nbegin-base64 644 evil.exe\r\n" + File + "\r\n====\r\n", "uuencoded"},
		{"yEnc in the text", "Subject: x\r\n\r\n=ybegin line=128 size=3 name=evil.exe\r\nabc\r\n=yend size=3\r\n", "yencoded"},
		{"uuencoded in the text", "Subject: x\r\n\r\nhello\r\nbegin 644 evil.exe\r\n#0V%T\r\n`\r\nend\r\n", "uuencoded"},
	}
}

// Base64 encodes, in lines.
func Base64(s string) string {
	const a = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	var b strings.Builder
	for i := 0; i < len(s); i += 3 {
		var v uint32
		n := min(3, len(s)-i)
		for j := range 3 {
			v <<= 8
			if j < n {
				v |= uint32(s[i+j])
			}
		}
		for j := range 4 {
			if j > n {
				b.WriteByte('=')
			} else {
				b.WriteByte(a[v>>(18-6*j)&63])
			}
		}
		if i%57 == 54 {
			b.WriteString("\r\n")
		}
	}
	return b.String() + "\r\n"
}
