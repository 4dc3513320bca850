package message

import (
	"io"
	"path"
	"slices"
	"strings"
)

// Role says what a Part is.
type Role uint8

// The roles.
const (
	Leaf      Role = iota // has content
	Container             // multipart, or an attached message: its parts follow
	Preamble              // text in front of the first part, which most readers hide
	Epilogue              // text behind the last part
	Stray                 // lines of a header block that are no fields: some readers start the body there
	Embedded              // a uuencoded file inside a text; of a yEnc file the name only
)

// Part is one reading of one part of a message. Where readers differ on how to
// decode a part, it is given once for each reading, with the same Path.
type Part struct {
	Path        string // "" the message, "2.1" the first part of its second part
	Role        Role
	Reading     int      // from 0
	Header      *Header  // nil but for Leaf and Container
	Types       []string // media types in lower case, each that a reader could see; never empty
	Disposition string   // of the first Content-Disposition, in lower case
	Names       []string // file names in UTF-8, each reading, the best for display first
	Attached    bool     // inside an attached message
	Charset     string
	Encoding    string // content transfer encoding: "", base64, quoted-printable

	// Body is the decoded content, io.EOF at once for a Container. What is
	// not read is skipped.
	Body io.Reader

	w *walker
}

// IsText reports whether a reader could show the part as text: by one of its
// types, by having no known type at all, or by the name.
func (p *Part) IsText() bool {
	if p.Role == Container {
		return false
	}
	if slices.ContainsFunc(p.Types, textType) {
		return true
	}
	for _, n := range p.Names {
		switch strings.ToLower(path.Ext(n)) {
		case ".txt", ".htm", ".html", ".xhtml", ".shtml", ".xml", ".csv", ".svg", ".eml", ".md", ".json", ".log", ".ics", ".vcf",
			".js", ".jse", ".vbs", ".vbe", ".ps1", ".bat", ".cmd", ".hta", ".wsf":
			return true
		}
	}
	return false
}

func textType(t string) bool {
	major, minor, _ := strings.Cut(t, "/")
	switch major {
	case "text", "message":
		return true
	case "application":
		switch minor {
		case "json", "xml", "xhtml+xml", "javascript", "x-javascript", "ecmascript", "csv", "x-sh", "x-httpd-php":
			return true
		}
		return strings.HasSuffix(minor, "+xml") || strings.HasSuffix(minor, "+json")
	case "multipart", "image", "audio", "video", "font", "model":
		return false
	}
	return t == ""
}

// IsHTML reports whether a reader could show the part as HTML.
func (p *Part) IsHTML() bool {
	for _, t := range p.Types {
		if t == "text/html" || t == "application/xhtml+xml" {
			return true
		}
	}
	for _, n := range p.Names {
		switch strings.ToLower(path.Ext(n)) {
		case ".htm", ".html", ".xhtml", ".shtml":
			return true
		}
	}
	return false
}

// IsAttachment reports whether the part is shown beside the text and not in
// it: by its disposition, its name, its type, or for lying in an attached message.
func (p *Part) IsAttachment() bool {
	switch p.Role {
	case Preamble, Epilogue, Stray:
		return p.Attached
	case Container:
		return len(p.Names) > 0 || attachedMessage(p.Types[0]) && p.Path != ""
	case Embedded:
		return true
	}
	return p.Attached || len(p.Names) > 0 || p.Disposition == "attachment" || !slices.ContainsFunc(p.Types, textType)
}

// Text gives the content in UTF-8; it reads Body. Bytes that the charset does
// not have become U+FFFD.
func (p *Part) Text() io.Reader {
	r, known := textReader(p.Charset, p.Body)
	if !known {
		p.w.st.findings.add(UnknownCharset, p.Path)
	}
	return r
}
