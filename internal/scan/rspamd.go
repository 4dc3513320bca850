package scan

import (
	"context"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"lazaret/internal/errs"
	"lazaret/internal/mail"
)

// RspamdOptions say where Rspamd is and how long it may take.
type RspamdOptions struct {
	URL      string        // of its normal worker: "http://127.0.0.1:11333"
	Password string        // when its worker asks for one
	Timeout  time.Duration // for a message; 0: 1 minute
	MaxSize  int64         // larger messages are not asked about; 0: 50 MiB

	Transport http.RoundTripper // nil: one of its own
}

const (
	maxJSON    = 1 << 20 // bytes of an answer
	maxSymbols = 200     // kept of one
)

// Asked is what an anti-spam engine wants to know of a message beside its content.
type Asked struct {
	MID  mail.MID
	IP   netip.Addr
	Helo string
	Host string // reverse DNS; "" when unknown
	User string // who logged in
	From mail.Address
	To   []mail.Address
	Size int64
}

// SpamEngineName is Rspamd's in log lines.
const SpamEngineName = "Rspamd"

// Rspamd is a client of Rspamd's HTTP interface. Safe for concurrent use.
type Rspamd struct {
	o    RspamdOptions
	http *http.Client
}

// NewRspamd makes a client. It does not connect yet.
func NewRspamd(o RspamdOptions) *Rspamd {
	if o.Timeout <= 0 {
		o.Timeout = time.Minute
	}
	if o.MaxSize <= 0 {
		o.MaxSize = 50 << 20
	}
	if o.Transport == nil {
		o.Transport = &http.Transport{
			MaxIdleConnsPerHost: 8, IdleConnTimeout: 20 * time.Second, ResponseHeaderTimeout: o.Timeout, MaxResponseHeaderBytes: 16 << 10,
		}
	}
	noRedirect := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Rspamd{o: o, http: &http.Client{Transport: o.Transport, Timeout: o.Timeout, CheckRedirect: noRedirect}}
}

// Close gives back idle connections.
func (r *Rspamd) Close() { r.http.CloseIdleConnections() }

// Scan asks about one message. An error is one of the content or of ctx;
// whatever the engine does is a Spam.
func (r *Rspamd) Scan(ctx context.Context, a Asked, open func() (io.ReadCloser, error)) (mail.Spam, error) {
	s, err := r.scan(ctx, a, open)
	s.Engine = SpamEngineName
	return s, err
}

func (r *Rspamd) scan(ctx context.Context, a Asked, open func() (io.ReadCloser, error)) (mail.Spam, error) {
	if a.Size > r.o.MaxSize {
		return mail.Spam{Reason: "larger than the scanner is asked about"}, nil
	}
	content, err := open()
	if err != nil {
		return mail.Spam{}, errs.Context(err, "reading what is to be scanned")
	}
	body := &watched{ReadCloser: content}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(r.o.URL, "/")+"/checkv2", body)
	if err != nil {
		content.Close()
		return mail.Spam{}, errs.Wrap(errs.Invalid, err, "the address of Rspamd")
	}
	req.ContentLength = a.Size
	r.describe(req.Header, a)
	resp, err := r.http.Do(req)
	if err != nil {
		if body.err != nil {
			return mail.Spam{}, errs.Context(body.err, "reading what is to be scanned")
		}
		return mail.Spam{Reason: "the scanner does not answer: " + printable(errs.Network(err).Error())}, ctx.Err()
	}
	defer resp.Body.Close()
	return read(resp), ctx.Err()
}

// watched remembers an error of the content.
type watched struct {
	io.ReadCloser
	err error
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		w.err = err
	}
	return n, err
}

// describe fills in what Rspamd reads of the envelope. Values that a header
// cannot carry as they are go encoded (RFC 2047), never raw.
func (r *Rspamd) describe(h http.Header, a Asked) {
	set := func(name, value string) {
		if value != "" {
			h.Add(name, mime.QEncoding.Encode("utf-8", printableUTF8(value)))
		}
	}
	h.Set("Content-Type", "message/rfc822")
	h.Set("Accept", "application/json")
	h.Set("Queue-Id", a.MID.String())
	if a.IP.IsValid() {
		h.Set("IP", a.IP.Unmap().String())
	}
	set("Helo", a.Helo)
	set("Hostname", a.Host)
	set("User", a.User)
	set("From", a.From.String())
	for _, to := range a.To {
		set("Rcpt", to.String())
	}
	set("Password", r.o.Password)
}

func printableUTF8(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}

// answer is as much of Rspamd's as we use; the rest of it may be anything.
type answer struct {
	Skipped  bool    `json:"is_skipped"`
	Action   string  `json:"action"`
	Score    float64 `json:"score"`
	Required float64 `json:"required_score"`
	Error    string  `json:"error"`
	Symbols  map[string]struct {
		Score float64 `json:"score"`
	} `json:"symbols"`
}

// read understands an answer.
func read(resp *http.Response) mail.Spam {
	if resp.StatusCode != http.StatusOK {
		return mail.Spam{Reason: "the scanner answers with status " + strconv.Itoa(resp.StatusCode)}
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxJSON+1))
	switch {
	case err != nil:
		return mail.Spam{Reason: "the scanner's answer was cut: " + printable(errs.Network(err).Error())}
	case len(b) > maxJSON:
		return mail.Spam{Reason: "the scanner's answer is too long"}
	}
	var a answer
	if err := json.Unmarshal(b, &a); err != nil {
		return mail.Spam{Reason: "the scanner's answer is not understood"}
	}
	out := mail.Spam{Action: printable(a.Action), Score: a.Score, Required: a.Required}
	switch a.Action {
	case "no action", "greylist":
		out.Verdict = mail.SpamNegative
	case "add header", "rewrite subject", "soft reject", "quarantine":
		out.Verdict = mail.SpamSuspect
	case "reject", "discard":
		out.Verdict = mail.SpamPositive
	}
	switch {
	case a.Error != "":
		return mail.Spam{Reason: "the scanner failed: " + printable(a.Error)}
	case a.Skipped && out.Verdict == mail.SpamNegative: // GTUBE is skipped and rejected
		return mail.Spam{Reason: "the scanner skipped the message"}
	case out.Verdict == mail.SpamUnknown:
		return mail.Spam{Reason: "the scanner's action is not understood: " + out.Action}
	}
	for name := range a.Symbols {
		out.Symbols = append(out.Symbols, printable(name))
	}
	slices.Sort(out.Symbols)
	out.Symbols = out.Symbols[:min(len(out.Symbols), maxSymbols)]
	return out
}
