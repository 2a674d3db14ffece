// Answers what a plan asks Proxmox VE: which machines, containers and pools there are. For scripts/terraform-check, with the
// real provider.
//
//	go run main.go FOLDER
//
// GET /api2/json/PATH is answered with FOLDER/PATH.json, as it is at that moment, and PATH?poolid=ID with
// FOLDER/PATH/ID.json. Anything else is an error, so that a plan that asks for more, or changes something, fails. The
// address is written to FOLDER/endpoint; every request is a line of FOLDER/requests. Ends when standard input does.
package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

func main() {
	folder := os.Args[1]
	requests, err := os.OpenFile(filepath.Join(folder, "requests"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		log.Fatal(err)
	}
	var writing sync.Mutex

	server := httptest.NewTLSServer(http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
		writing.Lock()
		fmt.Fprintln(requests, request.Method, request.URL)
		writing.Unlock()

		path, isAPI := strings.CutPrefix(request.URL.Path, "/api2/json/")
		if pool := request.URL.Query().Get("poolid"); pool != "" {
			path += "/" + pool
		}
		if !isAPI || request.Method != http.MethodGet || !filepath.IsLocal(path) {
			http.Error(answer, "not for a plan", http.StatusNotImplemented)
			return
		}
		content, err := os.ReadFile(filepath.Join(folder, path+".json"))
		if err != nil {
			http.Error(answer, err.Error(), http.StatusNotImplemented)
			return
		}
		answer.Header().Set("Content-Type", "application/json")
		if _, err := answer.Write(content); err != nil {
			log.Print(err)
		}
	}))
	defer server.Close()

	// In place at once: a reader waits for the file.
	endpoint := filepath.Join(folder, "endpoint")
	if err := os.WriteFile(endpoint+".new", []byte(server.URL+"/"), 0o600); err != nil {
		log.Fatal(err)
	}
	if err := os.Rename(endpoint+".new", endpoint); err != nil {
		log.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		log.Fatal(err)
	}
}
