from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TranslationRequest(_message.Message):
    __slots__ = ("session_id", "file_path", "source_lang", "target_lang", "voice_gender", "transcript_path")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    FILE_PATH_FIELD_NUMBER: _ClassVar[int]
    SOURCE_LANG_FIELD_NUMBER: _ClassVar[int]
    TARGET_LANG_FIELD_NUMBER: _ClassVar[int]
    VOICE_GENDER_FIELD_NUMBER: _ClassVar[int]
    TRANSCRIPT_PATH_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    file_path: str
    source_lang: str
    target_lang: str
    voice_gender: str
    transcript_path: str
    def __init__(self, session_id: _Optional[str] = ..., file_path: _Optional[str] = ..., source_lang: _Optional[str] = ..., target_lang: _Optional[str] = ..., voice_gender: _Optional[str] = ..., transcript_path: _Optional[str] = ...) -> None: ...

class TranslationProgress(_message.Message):
    __slots__ = ("session_id", "progress", "current_step", "status", "message", "early_preview_available", "early_preview_path", "eta_seconds", "hardware_info", "available_segment_ids", "chunks_per_minute", "current_chunk", "total_chunks", "log_entries", "stage", "stage_number", "total_stages", "segments_processed", "current_time", "current_time_formatted", "total_duration", "total_duration_formatted", "progress_percent", "elapsed_time")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    CURRENT_STEP_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    EARLY_PREVIEW_AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    EARLY_PREVIEW_PATH_FIELD_NUMBER: _ClassVar[int]
    ETA_SECONDS_FIELD_NUMBER: _ClassVar[int]
    HARDWARE_INFO_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_SEGMENT_IDS_FIELD_NUMBER: _ClassVar[int]
    CHUNKS_PER_MINUTE_FIELD_NUMBER: _ClassVar[int]
    CURRENT_CHUNK_FIELD_NUMBER: _ClassVar[int]
    TOTAL_CHUNKS_FIELD_NUMBER: _ClassVar[int]
    LOG_ENTRIES_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    STAGE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    TOTAL_STAGES_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_PROCESSED_FIELD_NUMBER: _ClassVar[int]
    CURRENT_TIME_FIELD_NUMBER: _ClassVar[int]
    CURRENT_TIME_FORMATTED_FIELD_NUMBER: _ClassVar[int]
    TOTAL_DURATION_FIELD_NUMBER: _ClassVar[int]
    TOTAL_DURATION_FORMATTED_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_PERCENT_FIELD_NUMBER: _ClassVar[int]
    ELAPSED_TIME_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    progress: float
    current_step: str
    status: str
    message: str
    early_preview_available: bool
    early_preview_path: str
    eta_seconds: int
    hardware_info: HardwareInfo
    available_segment_ids: _containers.RepeatedScalarFieldContainer[str]
    chunks_per_minute: float
    current_chunk: int
    total_chunks: int
    log_entries: _containers.RepeatedCompositeFieldContainer[LogEntry]
    stage: str
    stage_number: int
    total_stages: int
    segments_processed: int
    current_time: float
    current_time_formatted: str
    total_duration: float
    total_duration_formatted: str
    progress_percent: float
    elapsed_time: float
    def __init__(self, session_id: _Optional[str] = ..., progress: _Optional[float] = ..., current_step: _Optional[str] = ..., status: _Optional[str] = ..., message: _Optional[str] = ..., early_preview_available: _Optional[bool] = ..., early_preview_path: _Optional[str] = ..., eta_seconds: _Optional[int] = ..., hardware_info: _Optional[_Union[HardwareInfo, _Mapping]] = ..., available_segment_ids: _Optional[_Iterable[str]] = ..., chunks_per_minute: _Optional[float] = ..., current_chunk: _Optional[int] = ..., total_chunks: _Optional[int] = ..., log_entries: _Optional[_Iterable[_Union[LogEntry, _Mapping]]] = ..., stage: _Optional[str] = ..., stage_number: _Optional[int] = ..., total_stages: _Optional[int] = ..., segments_processed: _Optional[int] = ..., current_time: _Optional[float] = ..., current_time_formatted: _Optional[str] = ..., total_duration: _Optional[float] = ..., total_duration_formatted: _Optional[str] = ..., progress_percent: _Optional[float] = ..., elapsed_time: _Optional[float] = ...) -> None: ...

class LogEntry(_message.Message):
    __slots__ = ("timestamp", "level", "stage", "message", "chunk_id", "session_id", "extra_data")
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    LEVEL_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CHUNK_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    EXTRA_DATA_FIELD_NUMBER: _ClassVar[int]
    timestamp: str
    level: str
    stage: str
    message: str
    chunk_id: str
    session_id: str
    extra_data: str
    def __init__(self, timestamp: _Optional[str] = ..., level: _Optional[str] = ..., stage: _Optional[str] = ..., message: _Optional[str] = ..., chunk_id: _Optional[str] = ..., session_id: _Optional[str] = ..., extra_data: _Optional[str] = ...) -> None: ...

class ResultRequest(_message.Message):
    __slots__ = ("session_id",)
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    def __init__(self, session_id: _Optional[str] = ...) -> None: ...

class QualityMetrics(_message.Message):
    __slots__ = ("lip_sync_accuracy", "voice_quality", "translation_quality", "duration_match", "avg_lufs", "avg_atempo", "segments_condensed")
    LIP_SYNC_ACCURACY_FIELD_NUMBER: _ClassVar[int]
    VOICE_QUALITY_FIELD_NUMBER: _ClassVar[int]
    TRANSLATION_QUALITY_FIELD_NUMBER: _ClassVar[int]
    DURATION_MATCH_FIELD_NUMBER: _ClassVar[int]
    AVG_LUFS_FIELD_NUMBER: _ClassVar[int]
    AVG_ATEMPO_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_CONDENSED_FIELD_NUMBER: _ClassVar[int]
    lip_sync_accuracy: float
    voice_quality: float
    translation_quality: float
    duration_match: bool
    avg_lufs: float
    avg_atempo: float
    segments_condensed: int
    def __init__(self, lip_sync_accuracy: _Optional[float] = ..., voice_quality: _Optional[float] = ..., translation_quality: _Optional[float] = ..., duration_match: _Optional[bool] = ..., avg_lufs: _Optional[float] = ..., avg_atempo: _Optional[float] = ..., segments_condensed: _Optional[int] = ...) -> None: ...

class TranslationResult(_message.Message):
    __slots__ = ("session_id", "output_path", "status", "duration", "original_srt", "translated_srt", "quality_metrics", "output_size", "original_size", "processing_time_seconds")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_PATH_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    ORIGINAL_SRT_FIELD_NUMBER: _ClassVar[int]
    TRANSLATED_SRT_FIELD_NUMBER: _ClassVar[int]
    QUALITY_METRICS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_SIZE_FIELD_NUMBER: _ClassVar[int]
    ORIGINAL_SIZE_FIELD_NUMBER: _ClassVar[int]
    PROCESSING_TIME_SECONDS_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    output_path: str
    status: str
    duration: float
    original_srt: str
    translated_srt: str
    quality_metrics: QualityMetrics
    output_size: int
    original_size: int
    processing_time_seconds: float
    def __init__(self, session_id: _Optional[str] = ..., output_path: _Optional[str] = ..., status: _Optional[str] = ..., duration: _Optional[float] = ..., original_srt: _Optional[str] = ..., translated_srt: _Optional[str] = ..., quality_metrics: _Optional[_Union[QualityMetrics, _Mapping]] = ..., output_size: _Optional[int] = ..., original_size: _Optional[int] = ..., processing_time_seconds: _Optional[float] = ...) -> None: ...

class HardwareInfo(_message.Message):
    __slots__ = ("cpu", "gpu", "vram_gb", "ram_gb")
    CPU_FIELD_NUMBER: _ClassVar[int]
    GPU_FIELD_NUMBER: _ClassVar[int]
    VRAM_GB_FIELD_NUMBER: _ClassVar[int]
    RAM_GB_FIELD_NUMBER: _ClassVar[int]
    cpu: str
    gpu: str
    vram_gb: int
    ram_gb: int
    def __init__(self, cpu: _Optional[str] = ..., gpu: _Optional[str] = ..., vram_gb: _Optional[int] = ..., ram_gb: _Optional[int] = ...) -> None: ...

class CancelRequest(_message.Message):
    __slots__ = ("session_id",)
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    def __init__(self, session_id: _Optional[str] = ...) -> None: ...

class CancelResponse(_message.Message):
    __slots__ = ("success", "message")
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    success: bool
    message: str
    def __init__(self, success: _Optional[bool] = ..., message: _Optional[str] = ...) -> None: ...

class ControlTranslationRequest(_message.Message):
    __slots__ = ("session_id", "action")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    action: str
    def __init__(self, session_id: _Optional[str] = ..., action: _Optional[str] = ...) -> None: ...

class ControlTranslationResponse(_message.Message):
    __slots__ = ("success", "is_paused", "message")
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    IS_PAUSED_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    success: bool
    is_paused: bool
    message: str
    def __init__(self, success: _Optional[bool] = ..., is_paused: _Optional[bool] = ..., message: _Optional[str] = ...) -> None: ...

class LanguageDetectionRequest(_message.Message):
    __slots__ = ("file_path",)
    FILE_PATH_FIELD_NUMBER: _ClassVar[int]
    file_path: str
    def __init__(self, file_path: _Optional[str] = ...) -> None: ...

class LanguageDetectionResult(_message.Message):
    __slots__ = ("detected_language", "confidence", "success", "message")
    DETECTED_LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    detected_language: str
    confidence: float
    success: bool
    message: str
    def __init__(self, detected_language: _Optional[str] = ..., confidence: _Optional[float] = ..., success: _Optional[bool] = ..., message: _Optional[str] = ...) -> None: ...

class AIInsightsRequest(_message.Message):
    __slots__ = ("session_id",)
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    def __init__(self, session_id: _Optional[str] = ...) -> None: ...

class AIInsight(_message.Message):
    __slots__ = ("id", "type", "title", "description", "impact", "timestamp", "data")
    ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    IMPACT_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    id: str
    type: str
    title: str
    description: str
    impact: str
    timestamp: str
    data: str
    def __init__(self, id: _Optional[str] = ..., type: _Optional[str] = ..., title: _Optional[str] = ..., description: _Optional[str] = ..., impact: _Optional[str] = ..., timestamp: _Optional[str] = ..., data: _Optional[str] = ...) -> None: ...

class AIInsightsResponse(_message.Message):
    __slots__ = ("session_id", "insights", "total_insights", "success", "message")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    INSIGHTS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_INSIGHTS_FIELD_NUMBER: _ClassVar[int]
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    insights: _containers.RepeatedCompositeFieldContainer[AIInsight]
    total_insights: int
    success: bool
    message: str
    def __init__(self, session_id: _Optional[str] = ..., insights: _Optional[_Iterable[_Union[AIInsight, _Mapping]]] = ..., total_insights: _Optional[int] = ..., success: _Optional[bool] = ..., message: _Optional[str] = ...) -> None: ...
