# `make book` and `make test` set themselves up on a machine with Python >= 3.11, git and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

BOOK_SOURCES := _config.yml _toc.yml $(wildcard book/*.md book/*.bib book/_ext/*.py book/_static/*) \
	$(wildcard book/_static/explore/* book/stills/* notebooks/*.ipynb flatlib/* flatlib/data/*) \
	benchmarks/RESULTS.md pyproject.toml

.PHONY: help book test check notebooks colab bench figures assignments grade feedback public
.PHONY: site-check deck pdf stills links release repository clean
.DEFAULT_GOAL := help

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

book: _build/.book ## Render the book from the stored notebooks into _build/html
	@echo "The book is ready: open _build/html/index.html"

test: $(READY) ## Run everything that CI runs (STAGES="lint library" runs some; see tools/run_tests.py)
	@$(BIN)/python tools/run_tests.py $(STAGES)

check: $(READY) ## Check the form of the notebooks and of the repository, in seconds
	@$(BIN)/python -m pytest -q tests/test_notebooks.py tests/test_repository.py

site-check: _build/.book ## Open every page of the book in a browser and look at it (needs Chromium)
	@$(BIN)/python -m pytest -q tests/test_site.py -n 2

notebooks: $(READY) ## Re-execute the stored notebooks in place (CHAPTERS="04 05" runs some)
	@$(BIN)/python tools/execute.py $(CHAPTERS)

colab: $(READY) ## Run every notebook as Colab would: its versions, an empty folder, a fresh install
	@$(BIN)/python tools/colab.py $(CHAPTERS)

bench: $(READY) ## Compare the library with others: writes benchmarks/RESULTS.md in some ten minutes
	@$(BIN)/python benchmarks $(SECTIONS)

stills: $(READY) ## Draw the still pictures of the explorables anew, into book/stills
	@$(BIN)/python tools/stills.py

figures: $(READY) ## Compute Figures 3 and 4 of the paper into figures/ (OPTIONS="--help" lists choices)
	@$(BIN)/python -m flatlib.paper $(OPTIONS)

assignments: $(READY) ## Make the student's notebooks from the masters, into assignments/release
	@$(BIN)/python assignments release

# Grading runs the code of students: see assignments/README.md.
grade: $(READY) ## Grade a class: make grade CLASS=folder SEED=7 [OPTIONS="--help"]
	@$(BIN)/python assignments grade "$(CLASS)" --seed="$(SEED)" $(OPTIONS)

feedback: $(READY) ## Write a page of feedback for each student: make feedback CLASS=folder
	@$(BIN)/python assignments feedback "$(CLASS)"

public: $(READY) ## Write what may be published, without masters: make public INTO=folder
	@$(BIN)/python assignments public "$(INTO)"

deck: $(READY) ## Build the slides of a seminar into _build/deck
	@$(BIN)/python tools/deck.py

pdf: _build/flat-minima.pdf ## Print the whole book into one file, _build/flat-minima.pdf
	@echo "For paper: _build/flat-minima.pdf"

links: $(READY) ## Ask for every address that the book links to, as a workflow does weekly
	@$(BIN)/jupyter-book build -q -W --keep-going --builder linkcheck --path-output _build/links .

release: book pdf ## Pack the book, its PDF and the notebooks into _build/release: make release [TAG=v1.0.0]
	@$(BIN)/python tools/pack.py $(TAG)

repository: $(READY) ## Move the course to another address: make repository URL=https://... [TAG=v1.0.0]
	@$(BIN)/python tools/repository.py "$(URL)" $(TAG)

clean: ## Delete what was built, and the virtual environments
	rm -rf _build $(VENV) .venv-colab .pytest_cache .ruff_cache *.egg-info

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; name it with: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || tools/apt.sh python3-venv "virtual environments"
	@echo "Creating the virtual environment $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@echo "Installing requirements.txt into it (minutes the first time)"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -r requirements.txt
	@touch $@

# A change in an extension, the style or the configuration concerns every page, so it starts afresh;
# so does a failed build, whose warnings a second run would not repeat.
_build/.book: $(READY) $(BOOK_SOURCES)
	@echo "Building the book from $(words $(wildcard notebooks/*.ipynb)) stored notebooks"
	@$(if $(filter book/_ext/% book/_static/% _config.yml,$?),rm -rf _build/.doctrees _build/html)
	@$(BIN)/jupyter-book build -W --keep-going -q . >_build.log 2>&1 || \
		{ cat _build.log; rm -rf _build/.doctrees _build.log; exit 1; }
	@rm -f _build.log
	@touch $@

_build/flat-minima.pdf: _build/.book tools/pdf.py tools/pdf.css
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || \
		tools/apt.sh chromium "a browser to print with"
	@echo "Printing the book, which takes minutes"
	@$(BIN)/python tools/pdf.py
