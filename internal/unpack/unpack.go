// Package unpack opens what comes attached to mail: archives, documents, mail
// in mail. It gives each thing found in them with its name, its type by
// content, its bytes and its text, and says in findings what it met.
//
// All formats are read in a child process, the worker: this same program under
// limits of memory, time and files, without a way to the network, to files or
// to other programs. Whatever a hostile file does to its reader, a crash, a loop
// or a flood of memory, the worker dies and that file is unscannable; the next
// message gets a new worker.
//
// It decides nothing, writes no file by a name from outside, and promises that
// what was not seen to its end is never without a finding (promise P3): see
// Report.Unscannable and Report.Encrypted.
package unpack

import (
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"lazaret/internal/message"
	"lazaret/internal/unpack/filetype"
	"lazaret/internal/unpack/wire"
)

// Kind names a finding. The names are part of the filter language.
type Kind string

// What was found in a file.
const (
	Encrypted        Kind = "encrypted"          // its content cannot be seen without a password
	Macro            Kind = "macro"              // VBA or XLM in an Office file
	ExternalTemplate Kind = "external-template"  // an Office file that loads another one
	DDE              Kind = "dde"                // an Office field that starts a program
	EmbeddedObject   Kind = "embedded-object"    // a file inside a document
	PDFScript        Kind = "pdf-javascript"     // JavaScript in a PDF file
	PDFLaunch        Kind = "pdf-launch"         // a PDF file that starts a program
	PDFOpenAction    Kind = "pdf-open-action"    // a PDF file that does something when it is opened
	HiddenMember     Kind = "hidden-member"      // a file that the list of its archive does not have
	DuplicateMember  Kind = "duplicate-member"   // two files of one name in an archive
	OverlapMember    Kind = "overlapping-member" // two files of an archive share bytes of it
	UnusualMethod    Kind = "unusual-method"     // a file of a ZIP archive that is packed otherwise than by DEFLATE
	MemberPath       Kind = "member-path"        // a name that leads out of the directory: ../, absolute, a drive
	Link             Kind = "archive-link"       // a symbolic or hard link in an archive
	Polyglot         Kind = "archive-in-other"   // an archive behind something else
	TypeMismatch     Kind = "type-mismatch"      // a program under the name of a document
)

// Why something was not seen to its end: unscannable.
const (
	DepthLimit  Kind = "archive-depth-limit"
	PartLimit   Kind = "archive-member-limit"
	SizeLimit   Kind = "archive-size-limit"
	RatioLimit  Kind = "archive-ratio-limit"
	TimeLimit   Kind = "archive-time-limit"
	TextLimit   Kind = "document-text-limit"
	Unsupported Kind = "archive-unsupported" // a format or method that no reader here knows
	Corrupt     Kind = "archive-corrupt"     // damaged, or not what it says it is
	WorkerDied  Kind = "unpack-died"         // the worker crashed, or ran out of memory
	WorkerHung  Kind = "unpack-hung"         // the worker did not answer in time
	WorkerLied  Kind = "unpack-protocol"     // the worker said what it may not say
)

// Finding is one observation; Path and Detail may be empty. Detail is text from
// outside: escape it before it meets a screen or a log.
type Finding struct {
	Kind         Kind
	Path, Detail string
}

// maxFindings are kept for one message; a finding that makes it unscannable or
// encrypted always is.
const maxFindings = 200

// Limits bound the unpacking of one message. A zero field is the default.
type Limits struct {
	Depth int           // of containers in each other: 8
	Parts int           // 10,000
	Bytes int64         // unpacked in total: 512 MiB
	Ratio int64         // unpacked bytes for each byte of an attachment, beyond the first 8 MiB: 200
	Time  time.Duration // for one attachment: 60 s
}

func (l Limits) filled() Limits {
	if l.Depth <= 0 {
		l.Depth = 8
	}
	if l.Parts <= 0 {
		l.Parts = 10_000
	}
	if l.Bytes <= 0 {
		l.Bytes = 512 << 20
	}
	if l.Ratio <= 0 {
		l.Ratio = 200
	}
	if l.Time <= 0 {
		l.Time = time.Minute
	}
	return l
}

// Views of a part.
const (
	Content = ""      // the bytes as they are
	Text    = "text"  // the text of a document, extracted, UTF-8
	Macros  = "macro" // the source of a macro, UTF-8
)

// Part is something found in a file, or the file itself. It is valid until the
// function that it was given to returns.
type Part struct {
	Path  string // such as "2:1.3": the third in the first of what part 2 of the message has; "2:" is that part's content
	Name  string // as its container tells it, valid UTF-8, at most 1 KiB: for eyes and matching, never a name for a file
	Type  string // by content: "zip", "docx", "exe", "text", ...; docs/unpack.md has the list
	Group string // executable, compressed, document, image, media, text, other
	Depth int    // 0 the file itself
	View  string // what Body is: Content, Text or Macros
	Body  io.Reader
}

// IsText reports whether Body is text to match: extracted, or text by itself.
func (p *Part) IsText() bool {
	return p.View != Content || p.Group == "text" || p.Type == "script" || p.Type == "mail" || p.Type == "svg" || p.Type == "rtf"
}

// Report is what was found in a message.
type Report struct {
	Findings []Finding
	Parts    int   // opened or listed
	Bytes    int64 // unpacked
}

func (r *Report) add(f Finding) {
	if slices.Contains(r.Findings, f) {
		return
	}
	if len(r.Findings) < maxFindings {
		r.Findings = append(r.Findings, f)
	} else if f.Kind.unseen() {
		r.Findings[maxFindings-1] = f
	}
}

// Has reports whether one of the kinds was found.
func (r *Report) Has(kinds ...Kind) bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool { return slices.Contains(kinds, f.Kind) })
}

// Encrypted reports whether something could not be seen for want of a password.
func (r *Report) Encrypted() bool { return r.Has(Encrypted) }

// Unscannable gives the first finding for which a part of the message was not
// seen, encryption apart. Such a message is never "clean".
func (r *Report) Unscannable() (Finding, bool) {
	for _, f := range r.Findings {
		if f.Unseen() {
			return f, true
		}
	}
	return Finding{}, false
}

var unseenKinds = [...]Kind{Encrypted, DepthLimit, PartLimit, SizeLimit, RatioLimit, TimeLimit, TextLimit, Unsupported, Corrupt, WorkerDied, WorkerHung, WorkerLied}

func (k Kind) unseen() bool {
	_, inMail := message.Findings{{Kind: message.Kind(k)}}.Unscannable()
	return inMail || slices.Contains(unseenKinds[:], k)
}

// Unseen reports whether for such a finding a part of the message was not seen,
// encryption apart.
func (f Finding) Unseen() bool { return f.Kind != Encrypted && f.Kind.unseen() }

// Fault reports whether the finding is about a worker that was lost, and not
// about what is in the file.
func (f Finding) Fault() bool {
	return f.Kind == WorkerDied || f.Kind == WorkerHung || f.Kind == WorkerLied
}

// known reports whether a worker may say such a thing: of mail in a file it has
// the findings of mail.
func (k Kind) known() bool {
	return slices.Contains(Kinds(), k) || slices.Contains(message.Kinds(), message.Kind(k))
}

// Kinds gives every kind of finding but those of mail in a file, for lists and
// error texts.
func Kinds() []Kind {
	return append([]Kind{Macro, ExternalTemplate, DDE, EmbeddedObject, PDFScript, PDFLaunch, PDFOpenAction, HiddenMember,
		DuplicateMember, OverlapMember, UnusualMethod, MemberPath, Link, Polyglot, TypeMismatch}, unseenKinds[:]...)
}

// wireLimits gives what is left of the limits.
func (l Limits) wire(used Report) wire.Limits {
	return wire.Limits{Depth: l.Depth, Parts: max(0, l.Parts-used.Parts), Bytes: max(0, l.Bytes-used.Bytes), Ratio: l.Ratio, Millis: l.Time.Milliseconds()}
}

// Worth reports whether there is something to open in a file that begins with
// head (filetype.Len bytes are enough), by its bytes and, where mail and pages
// look like any text, by what it is called. A picture with an archive behind it
// is told by its end, not by its head.
func Worth(head []byte, name string, types []string) bool {
	switch t := filetype.Sniff(head); t.Group {
	case filetype.Compressed, filetype.Document:
		return true
	case filetype.Executable:
		return t.Name != "script"
	case filetype.Text:
		return t == filetype.HTML || strings.EqualFold(path.Ext(name), ".eml") || slices.Contains(types, "message/rfc822")
	}
	return false
}
