from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RouteRequest(_message.Message):
    __slots__ = ("model", "request_id", "subject", "slices")
    class SlicesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    SLICES_FIELD_NUMBER: _ClassVar[int]
    model: str
    request_id: str
    subject: str
    slices: _containers.ScalarMap[str, str]
    def __init__(self, model: _Optional[str] = ..., request_id: _Optional[str] = ..., subject: _Optional[str] = ..., slices: _Optional[_Mapping[str, str]] = ...) -> None: ...

class RouteReply(_message.Message):
    __slots__ = ("request_id", "version", "digest", "adapter_uri", "epoch", "propensity", "shadows", "base", "base_digest", "task", "champion", "shadow_arms", "prompt")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_URI_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    PROPENSITY_FIELD_NUMBER: _ClassVar[int]
    SHADOWS_FIELD_NUMBER: _ClassVar[int]
    BASE_FIELD_NUMBER: _ClassVar[int]
    BASE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    CHAMPION_FIELD_NUMBER: _ClassVar[int]
    SHADOW_ARMS_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    version: int
    digest: str
    adapter_uri: str
    epoch: int
    propensity: float
    shadows: _containers.RepeatedScalarFieldContainer[int]
    base: str
    base_digest: str
    task: str
    champion: int
    shadow_arms: _containers.RepeatedCompositeFieldContainer[Arm]
    prompt: Prompt
    def __init__(self, request_id: _Optional[str] = ..., version: _Optional[int] = ..., digest: _Optional[str] = ..., adapter_uri: _Optional[str] = ..., epoch: _Optional[int] = ..., propensity: _Optional[float] = ..., shadows: _Optional[_Iterable[int]] = ..., base: _Optional[str] = ..., base_digest: _Optional[str] = ..., task: _Optional[str] = ..., champion: _Optional[int] = ..., shadow_arms: _Optional[_Iterable[_Union[Arm, _Mapping]]] = ..., prompt: _Optional[_Union[Prompt, _Mapping]] = ...) -> None: ...

class Prompt(_message.Message):
    __slots__ = ("digest", "system", "template")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SYSTEM_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    digest: str
    system: str
    template: str
    def __init__(self, digest: _Optional[str] = ..., system: _Optional[str] = ..., template: _Optional[str] = ...) -> None: ...

class Arm(_message.Message):
    __slots__ = ("version", "digest", "adapter_uri", "base", "base_digest", "task", "propensity", "prompt")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    ADAPTER_URI_FIELD_NUMBER: _ClassVar[int]
    BASE_FIELD_NUMBER: _ClassVar[int]
    BASE_DIGEST_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    PROPENSITY_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    version: int
    digest: str
    adapter_uri: str
    base: str
    base_digest: str
    task: str
    propensity: float
    prompt: Prompt
    def __init__(self, version: _Optional[int] = ..., digest: _Optional[str] = ..., adapter_uri: _Optional[str] = ..., base: _Optional[str] = ..., base_digest: _Optional[str] = ..., task: _Optional[str] = ..., propensity: _Optional[float] = ..., prompt: _Optional[_Union[Prompt, _Mapping]] = ...) -> None: ...

class PredictRequest(_message.Message):
    __slots__ = ("model", "text", "request_id", "subject", "slices", "time_ms", "wait_for_log")
    class SlicesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    SLICES_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    WAIT_FOR_LOG_FIELD_NUMBER: _ClassVar[int]
    model: str
    text: str
    request_id: str
    subject: str
    slices: _containers.ScalarMap[str, str]
    time_ms: int
    wait_for_log: bool
    def __init__(self, model: _Optional[str] = ..., text: _Optional[str] = ..., request_id: _Optional[str] = ..., subject: _Optional[str] = ..., slices: _Optional[_Mapping[str, str]] = ..., time_ms: _Optional[int] = ..., wait_for_log: _Optional[bool] = ...) -> None: ...

class PredictReply(_message.Message):
    __slots__ = ("request_id", "label", "confidence", "version", "digest", "epoch")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    label: str
    confidence: float
    version: int
    digest: str
    epoch: int
    def __init__(self, request_id: _Optional[str] = ..., label: _Optional[str] = ..., confidence: _Optional[float] = ..., version: _Optional[int] = ..., digest: _Optional[str] = ..., epoch: _Optional[int] = ...) -> None: ...

class GenerateRequest(_message.Message):
    __slots__ = ("model", "text", "request_id", "subject", "slices", "time_ms", "wait_for_log", "max_new_tokens", "temperature", "top_p", "stop", "seed")
    class SlicesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    SLICES_FIELD_NUMBER: _ClassVar[int]
    TIME_MS_FIELD_NUMBER: _ClassVar[int]
    WAIT_FOR_LOG_FIELD_NUMBER: _ClassVar[int]
    MAX_NEW_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    TOP_P_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    model: str
    text: str
    request_id: str
    subject: str
    slices: _containers.ScalarMap[str, str]
    time_ms: int
    wait_for_log: bool
    max_new_tokens: int
    temperature: float
    top_p: float
    stop: _containers.RepeatedScalarFieldContainer[str]
    seed: int
    def __init__(self, model: _Optional[str] = ..., text: _Optional[str] = ..., request_id: _Optional[str] = ..., subject: _Optional[str] = ..., slices: _Optional[_Mapping[str, str]] = ..., time_ms: _Optional[int] = ..., wait_for_log: _Optional[bool] = ..., max_new_tokens: _Optional[int] = ..., temperature: _Optional[float] = ..., top_p: _Optional[float] = ..., stop: _Optional[_Iterable[str]] = ..., seed: _Optional[int] = ...) -> None: ...

class GenerateReply(_message.Message):
    __slots__ = ("request_id", "text", "finish_reason", "tokens_in", "tokens_out", "logprob", "version", "digest", "epoch", "prompt")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    FINISH_REASON_FIELD_NUMBER: _ClassVar[int]
    TOKENS_IN_FIELD_NUMBER: _ClassVar[int]
    TOKENS_OUT_FIELD_NUMBER: _ClassVar[int]
    LOGPROB_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    PROMPT_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    text: str
    finish_reason: str
    tokens_in: int
    tokens_out: int
    logprob: float
    version: int
    digest: str
    epoch: int
    prompt: str
    def __init__(self, request_id: _Optional[str] = ..., text: _Optional[str] = ..., finish_reason: _Optional[str] = ..., tokens_in: _Optional[int] = ..., tokens_out: _Optional[int] = ..., logprob: _Optional[float] = ..., version: _Optional[int] = ..., digest: _Optional[str] = ..., epoch: _Optional[int] = ..., prompt: _Optional[str] = ...) -> None: ...

class GeneratePiece(_message.Message):
    __slots__ = ("text", "done")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    text: str
    done: GenerateReply
    def __init__(self, text: _Optional[str] = ..., done: _Optional[_Union[GenerateReply, _Mapping]] = ...) -> None: ...
