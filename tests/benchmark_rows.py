"""Rows as well-known test sets have them, of our own wording: name → (a row as it comes, what it must give)."""

from __future__ import annotations

from typing import Any

ROWS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "arc-challenge": (
        {
            "id": "a1",
            "question": "Which of these floats?",
            "answerKey": "2",
            "choices": {"text": ["lead", "cork", "iron"], "label": ["1", "2", "3"]},
        },
        {"question": "Which of these floats?", "answer": "cork", "choices": ("lead", "cork", "iron"), "id": "a1"},
    ),
    "openbookqa": (
        {
            "question_stem": "Frost forms when",
            "choices": {"text": ["it is cold", "it is warm"], "label": ["A", "B"]},
            "answerKey": "A",
        },
        {"question": "Frost forms when", "answer": "it is cold"},
    ),
    "commonsense-qa": (
        {
            "question": {
                "stem": "Where is a broom?",
                "choices": [{"label": "A", "text": "sky"}, {"label": "B", "text": "shed"}],
            },
            "answerKey": "B",
        },
        {"question": "Where is a broom?", "answer": "shed", "choices": ("sky", "shed")},
    ),
    "mmlu": ({"question": "2+2?", "choices": ["3", "4", "5", "2"], "answer": 1, "subject": "x"}, {"answer": "4"}),
    "mmlu-pro": (
        {"question": "Pick", "options": ["p", "q", "r"], "answer": "C", "answer_index": 2, "question_id": 70},
        {"answer": "r", "id": "70"},
    ),
    "cmmlu": (
        {"Question": "哪个是水果？", "A": "石头", "B": "苹果", "C": "铁", "D": "云", "Answer": "B"},
        {"answer": "苹果"},
    ),
    "ceval": (
        {"id": 3, "question": "天空是什么颜色？", "A": "蓝", "B": "绿", "C": "红", "D": "黑", "answer": "A"},
        {"answer": "蓝"},
    ),
    "kmmlu": ({"question": "고르시오", "A": "가", "B": "나", "C": "다", "D": "라", "answer": 4}, {"answer": "라"}),
    "hellaswag": (
        {
            "ctx": "A man lifts a box and",
            "endings": ["eats it", "sets it down", "sings", "flies"],
            "label": "1",
            "ind": 9,
        },
        {"question": "A man lifts a box and", "answer": "sets it down", "id": "9"},
    ),
    "winogrande": (
        {
            "sentence": "The cup did not fit the shelf as _ was tall.",
            "option1": "cup",
            "option2": "shelf",
            "answer": "1",
        },
        {"answer": "cup", "choices": ("cup", "shelf")},
    ),
    "piqa": (
        {"goal": "Open a jar", "sol1": "Twist the lid", "sol2": "Eat the jar", "label": 0},
        {"answer": "Twist the lid"},
    ),
    "siqa": (
        {
            "context": "Ann lent Bo a coat.",
            "question": "Why?",
            "answerA": "he was cold",
            "answerB": "rain",
            "answerC": "fun",
            "label": "1",
        },
        {"question": "Ann lent Bo a coat.\n\nWhy?", "answer": "he was cold"},
    ),
    "truthfulqa": (
        {
            "question": "Do stones grow?",
            "mc1_targets": {"choices": ["No", "Yes"], "labels": [1, 0]},
            "mc2_targets": {"choices": ["No"], "labels": [1]},
        },
        {"answer": "No", "choices": ("No", "Yes")},
    ),
    "storycloze": (
        {
            "input_sentence_1": "He ran.",
            "input_sentence_2": "He fell.",
            "input_sentence_3": "It hurt.",
            "input_sentence_4": "He rose.",
            "sentence_quiz1": "He flew.",
            "sentence_quiz2": "He limped.",
            "answer_right_ending": 2,
        },
        {"question": "He ran.\n\nHe fell.\n\nIt hurt.\n\nHe rose.", "answer": "He limped."},
    ),
    "swag": (
        {
            "startphrase": "She opens",
            "ending0": "a door",
            "ending1": "the sea",
            "ending2": "air",
            "ending3": "fire",
            "label": 0,
        },
        {"answer": "a door"},
    ),
    "anli": (
        {"uid": "u7", "premise": "Rain fell all day.", "hypothesis": "It was wet.", "label": 0},
        {"question": "Rain fell all day.\n\nIt was wet.", "answer": "entailment", "id": "u7", "choices": ()},
    ),
    "boolq": (
        {"question": "is ice cold", "answer": True, "passage": "Ice is."},
        {"question": "is ice cold", "answer": "yes"},
    ),
    "superglue-cb": ({"premise": "p", "hypothesis": "h", "label": 2, "idx": 0}, {"answer": "neutral"}),
    "gsm8k": (
        {"question": "Two hens lay 3 eggs each. How many?", "answer": "2*3=6\n#### 6"},
        {"question": "Two hens lay 3 eggs each. How many?", "answer": "2*3=6\n#### 6"},
    ),
    "svamp": (
        {"ID": "s", "Body": "Al has 3 nuts.", "Question": "How many nuts?", "Answer": 3.0},
        {"answer": "3", "id": "s"},
    ),
    "math": ({"problem": "Find $x$ if $x+1=2$.", "solution": "$x=1$", "level": "Level 1"}, {"answer": "$x=1$"}),
    "aime-2024": (
        {"ID": "2024-I-0", "Problem": "Count them.", "Solution": "Count: 5.", "Answer": 5},
        {"answer": "Count: 5."},
    ),
    "gpqa-diamond": (
        {
            "Question": "Which decays?",
            "Correct Answer": "radium",
            "Incorrect Answer 1": "gold",
            "Incorrect Answer 2": "tin",
            "Incorrect Answer 3": "lead",
        },
        {"answer": "radium", "choices": ("radium", "gold", "tin", "lead")},
    ),
    "sciq": (
        {
            "question": "What is wet?",
            "distractor1": "sand",
            "distractor2": "dust",
            "distractor3": "ash",
            "correct_answer": "water",
            "support": "-",
        },
        {"answer": "water", "choices": ("sand", "dust", "ash", "water")},
    ),
    "headqa": (
        {
            "qid": 4,
            "qtext": "The heart pumps:",
            "ra": 2,
            "answers": [{"aid": 1, "atext": "air"}, {"aid": 2, "atext": "blood"}],
        },
        {"answer": "blood", "choices": ("air", "blood")},
    ),
    "bbh": (
        {"input": "Which is odd?\nOptions:\n(A) two\n(B) three", "target": "(B)"},
        {"answer": "three", "choices": ("two", "three")},
    ),
    "musr": (
        {"narrative": "Rex was out.", "question": "Who did it?", "choices": "['Rex', 'Ada']", "answer_index": 1},
        {"question": "Rex was out.\n\nWho did it?", "answer": "Ada", "choices": ("Rex", "Ada")},
    ),
    "triviaqa": (
        {"question": "Who sang?", "question_id": "t1", "answer": {"value": "Ann Lee", "aliases": ["A. Lee"]}},
        {"answer": "Ann Lee", "id": "t1"},
    ),
    "nq-open": ({"question": "how far is it", "answer": ["two miles", "2 mi"]}, {"answer": "two miles"}),
    "drop": (
        {
            "passage": "P",
            "question": "How many goals?",
            "answer": {"number": "", "spans": ["three", "four"]},
            "query_id": "q",
        },
        {"question": "How many goals?", "answer": "three"},
    ),
    "coqa": (
        {
            "story": "Tim had a dog.",
            "questions": {"input_text": ["Who?", "What?"]},
            "answers": {"input_text": ["Tim", "dog"]},
        },
        {"question": "Tim had a dog.", "turns": ("Who?", "What?")},
    ),
    "race-high": (
        {
            "article": "Long text.",
            "question": "Why?",
            "options": ["a thing", "b thing", "c thing", "d thing"],
            "answer": "D",
        },
        {"question": "Long text.\n\nWhy?", "answer": "d thing"},
    ),
    "humaneval": (
        {
            "task_id": "H/0",
            "prompt": 'def f(x):\n    """Double."""\n',
            "canonical_solution": "    return 2 * x\n",
            "test": "t",
            "entry_point": "f",
        },
        {"answer": "return 2 * x", "id": "H/0"},
    ),
    "mbpp": (
        {"task_id": 5, "text": "Write add.", "code": "def add(a, b):\n    return a + b", "test_list": []},
        {"id": "5"},
    ),
    "mt-bench": (
        {"question_id": 81, "turns": ["Write a poem.", "Now shorter."], "reference": []},
        {"question": "Write a poem.", "turns": ("Now shorter.",), "id": "81"},
    ),
    "ifeval": ({"key": 1000, "prompt": "Answer in two lines.", "kwargs": []}, {"question": "Answer in two lines."}),
    "belebele": (
        {
            "flores_passage": "P.",
            "question": "Q?",
            "mc_answer1": "a",
            "mc_answer2": "b",
            "mc_answer3": "c",
            "mc_answer4": "d",
            "correct_answer_num": "4",
        },
        {"answer": "d"},
    ),
    "blimp": ({"sentence_good": "Who runs?", "sentence_bad": "Who run?"}, {"question": "Who runs?"}),
    "qa4mre": (
        {
            "question_str": "Who?",
            "answer_options": {"answer_id": ["1", "2"], "answer_str": ["I", "you"]},
            "correct_answer_id": "2",
        },
        {"answer": "you"},
    ),
    "arabicmmlu": (
        {
            "ID": 1,
            "Context": None,
            "Question": "ما؟",
            "Option 1": "أ",
            "Option 2": "ب",
            "Option 3": "ج",
            "Option 4": None,
            "Option 5": None,
            "Answer Key": "C",
        },
        {"question": "ما؟", "answer": "ج", "choices": ("أ", "ب", "ج")},
    ),
    "exams": (
        {
            "question": {"stem": "Kaj?", "choices": {"text": ["da", "ne"], "label": ["A", "B"]}},
            "answerKey": "B",
            "id": "e",
        },
        {"question": "Kaj?", "answer": "ne"},
    ),
    "physics-gre": (
        {"input": "Mass?", "target_scores": {"5 kg": 0, "7 kg": 1}},
        {"answer": "7 kg", "choices": ("5 kg", "7 kg")},
    ),
    "clue-c3": (
        {"context": ["甲：你好。", "乙：再见。"], "question": "谁先说？", "choice": ["甲", "乙"], "answer": "甲"},
        {"question": "甲：你好。\n乙：再见。\n\n谁先说？", "answer": "甲"},
    ),
    "medmcqa": (
        {"question": "Organ?", "opa": "liver", "opb": "x", "opc": "y", "opd": "z", "cop": 0},
        {"answer": "liver"},
    ),
    "careqa": ({"question": "Q", "op1": "a1", "op2": "b1", "op3": "c1", "op4": "d1", "cop": 4}, {"answer": "d1"}),
    "arena-hard": (
        {"question_id": "z", "turns": [{"content": "Explain rain."}], "prompt": "Explain rain."},
        {"question": "Explain rain."},
    ),
}
